"""What a finished model says at every place, in a process of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from kernels.process import compute_environment
from rl.prm.examples import ReadSolution
from rl.prm.objective import parameters_at
from rollout.deadlines import deadlines_of
from rollout.remote import answer, call

LEAST_S = 300.0
"""What a call may take, see `rollout/deadlines.py`."""
MAX_ROWS = 4096
"""Of one forward pass; no bit depends on it."""


def predict(model_dir: Path, dtype: str, solutions: Sequence[ReadSolution]) -> np.ndarray:
    """(places, parameters) float64: the head's outputs at every place of `solutions`, in order. Ray must be up.

    model_dir: as `reward.prm.model.save_prm` writes it; what recalibrates it is not applied.
    """
    deadlines = deadlines_of(LEAST_S, model_dir)
    within_s = deadlines.start_s() + deadlines.sample_s(sum(len(solution.token_ids) for solution in solutions))
    variables = compute_environment(threads=0, num_processes=1) | {"HF_HUB_OFFLINE": "1"}
    remote: Any = ray.remote(num_cpus=0, max_calls=1, max_retries=0, runtime_env={"env_vars": variables})(_predict)
    reference = remote.remote(str(model_dir.resolve()), dtype, list(solutions))
    shared = answer(call("the model's process", "reading solutions", reference, within_s))
    return np.array(shared)  # a copy: torch wants arrays that may be written to, and Ray's may not


def _predict(model_dir: str, dtype: str, solutions: list[ReadSolution]) -> np.ndarray:
    from reward.prm.model import load_prm

    with torch.no_grad():
        said = parameters_at(load_prm(Path(model_dir), dtype), solutions, MAX_ROWS)
    parameters: np.ndarray = said.double().numpy()
    return parameters
