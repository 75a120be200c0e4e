from pathlib import Path

import pytest

from rl.errors import UserError
from rl.pretrain.config import load_pretrain_config
from rl.pretrain.inputs import job_of, read_inputs
from rl.run_folder import RunFolder

from ..commands import REPO
from .models import made

TINY = REPO / "configs" / "tiny_pretrain.yaml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_checkpoint_goes_on_at_the_depth_that_it_is_trained_at() -> None:
    """Not at its own, which is 3 with a gradient through 2; a retrofitted one's is 1."""
    parent = made("recurrent", Path("made"))
    config = load_pretrain_config(TINY, [f"model.path={parent}", "recurrence={mean: 5, num_backpropagated: 0}"])
    inputs = read_inputs(config)
    assert (inputs.model_config.num_recurrences, inputs.model_config.num_backpropagated) == (5, None)
    evaluation = job_of(config, inputs, RunFolder(Path("run"))).evaluation
    assert evaluation is not None and vars(evaluation)["default"] == 5
    weights = [(folder / "model.safetensors").read_bytes() for folder in (parent, inputs.model_dir)]
    assert weights[0] == weights[1]


def test_a_learned_state_that_no_gradient_would_reach_is_refused() -> None:
    settings = ["model.initial_state=learned", "recurrence={mean: 4, num_backpropagated: 2}"]
    with pytest.raises(ValueError, match="learned initial state gets no gradient with num_backpropagated=2"):
        read_inputs(load_pretrain_config(TINY, settings))
    read_inputs(load_pretrain_config(TINY, [*settings, "recurrence.num_backpropagated=0"]))


def test_problems_that_are_too_long_for_the_model_are_refused() -> None:
    with pytest.raises(UserError, match="a problem of 40 operands has 85 tokens, more than the 64 positions"):
        read_inputs(load_pretrain_config(TINY, ["evaluation.operands=[40]"]))
