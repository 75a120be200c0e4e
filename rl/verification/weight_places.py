"""What a checkpoint holds, by parameter. It is flat: fp32, in the order of the model's parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kernels.digest import weights_digest
from kernels.recurrent.registration import register
from rl.config import load_config
from rl.models import MODEL_CACHE, resolve_model
from rl.run_folder import RunFolder

_PARTS = {"master": "weight", "exp_avg": "first Adam moment", "exp_avg_sq": "second Adam moment"}
"""What a checkpoint holds for each weight, and what to call it."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


def run_parameters(folder: RunFolder) -> Sequence[Parameter]:
    """The parameters of a run's model; none where the model cannot be had any more."""
    try:
        if (folder.model_dir / "config.json").is_file():
            return model_parameters(folder.model_dir)
        config = load_config(folder.config_path)
        return model_parameters(resolve_model(config.model.path, MODEL_CACHE, seed=config.seed))
    except (ValueError, OSError):
        return ()


def model_parameters(model_dir: Path) -> list[Parameter]:
    """The parameters of the model in `model_dir` in their order, tied ones once; no weights are read."""
    import transformers

    register()
    config = transformers.AutoConfig.from_pretrained(model_dir)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return [Parameter(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]


def policy_digest(state: Path, parameters: Sequence[Parameter], dtype: str) -> str:
    """Digest of the policy that the master weights in `state` come to in `dtype`, as trainer and engines take it.

    state: `trainer.safetensors` of a checkpoint. Raises ValueError where it has not as many weights as the model.
    """
    from safetensors import safe_open

    with safe_open(state, framework="pt") as file:
        master = file.get_tensor("master")
    sizes = [parameter.size for parameter in parameters]
    if sum(sizes) != master.numel():
        raise ValueError(f"{state} has {master.numel():,} weights, the model {sum(sizes):,}")
    parts = master.to(getattr(torch, dtype)).split(sizes)
    return weights_digest({p.name: part.view(p.shape) for p, part in zip(parameters, parts, strict=True)})


def first_weight_difference(a: Path, b: Path, parameters: Sequence[Parameter]) -> str | None:
    """The first weight, then Adam moment, whose bits differ, with both values; None where all are the same.

    a, b: `trainer.safetensors` of two checkpoints.
    """
    from safetensors.torch import load_file

    mine, theirs = load_file(a), load_file(b)
    for part in _PARTS:
        if mine[part].shape != theirs[part].shape:
            return f"{mine[part].numel()} weights against {theirs[part].numel()}: the models are not the same"
        found = _first_in(part, mine[part], theirs[part], parameters)
        if found:
            return found
    return None


def _first_in(part: str, mine: torch.Tensor, theirs: torch.Tensor, parameters: Sequence[Parameter]) -> str | None:
    differ = (mine.view(torch.int32) != theirs.view(torch.int32)).nonzero()[:, 0]
    if not len(differ):
        return None
    at = int(differ[0])
    values = f"{_shown(float(mine[at]))} against {_shown(float(theirs[at]))}"
    return f"{_PARTS[part]} {_named(at, mine.numel(), parameters)}: {values}; {len(differ)} of {mine.numel()} differ"


def _named(at: int, num_weights: int, parameters: Sequence[Parameter]) -> str:
    """Name and index of the weight at a flat position."""
    start = 0
    if sum(parameter.size for parameter in parameters) == num_weights:
        for parameter in parameters:
            if at < start + parameter.size:
                return f"{parameter.name}[{at - start}]"
            start += parameter.size
    return f"number {at}"


def _shown(value: float) -> str:
    return f"{value.hex()} ({value!r})"
