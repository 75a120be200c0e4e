from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kernels.digest import weights_digest
from rl.verification.weight_places import Parameter, first_weight_difference, model_parameters, policy_digest

PARAMETERS = [Parameter("embed", (2, 2)), Parameter("layer.weight", (5,)), Parameter("norm", (1,))]


@pytest.fixture
def states(tmp_path: Path):
    """Writes two checkpoints, the second with some values changed: {part: {flat index: value}}."""

    def write(changes: dict[str, dict[int, float]]) -> tuple[Path, Path]:
        state = {part: torch.arange(10, dtype=torch.float32) for part in ("master", "exp_avg", "exp_avg_sq")}
        save_file(state, tmp_path / "a")
        for part, values in changes.items():
            for index, value in values.items():
                state[part][index] = value
        save_file(state, tmp_path / "b")
        return tmp_path / "a", tmp_path / "b"

    return write


def test_equal_checkpoints_have_no_difference(states) -> None:
    assert first_weight_difference(*states({}), PARAMETERS) is None


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "embed[0]"), (3, "embed[3]"), (4, "layer.weight[0]"), (8, "layer.weight[4]"), (9, "norm[0]")],
)
def test_a_flat_place_is_named_by_its_parameter(states, index: int, name: str) -> None:
    found = first_weight_difference(*states({"master": {index: -1.0}}), PARAMETERS)
    expected = (
        f"weight {name}: {float(index).hex()} ({float(index)}) against -0x1.0000000000000p+0 (-1.0); 1 of 10 differ"
    )
    assert found == expected


def test_weights_come_before_moments_and_the_rest_is_counted(states) -> None:
    found = first_weight_difference(*states({"exp_avg": {0: -1.0}, "master": {5: -1.0, 7: -1.0}}), PARAMETERS)
    assert found is not None and found.startswith("weight layer.weight[1]:") and found.endswith("2 of 10 differ")
    found = first_weight_difference(*states({"exp_avg_sq": {9: -1.0}}), PARAMETERS)
    assert found is not None and found.startswith("second Adam moment norm[0]:")


def test_bits_are_compared_and_not_values(states) -> None:
    found = first_weight_difference(*states({"master": {0: -0.0}}), PARAMETERS)
    assert found is not None and "0x0.0p+0 (0.0) against -0x0.0p+0 (-0.0)" in found


def test_without_the_model_a_weight_is_numbered(states) -> None:
    found = first_weight_difference(*states({"master": {5: -1.0}}), ())
    assert found is not None and found.startswith("weight number 5:")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_checkpoint_comes_to_the_digest_of_its_weights_in_the_dtype_of_the_forward_pass(tmp_path, dtype) -> None:
    master = torch.tensor([0.1, -0.2, 0.3, 1e-9, 5.0, 6.0, 7.0, 8.0, 9.0, 0.7])
    save_file({"master": master}, tmp_path / "state")
    cast = master.to(getattr(torch, dtype))
    policy = {"embed": cast[:4].view(2, 2), "layer.weight": cast[4:9], "norm": cast[9:]}
    assert policy_digest(tmp_path / "state", PARAMETERS, dtype) == weights_digest(policy)


def test_parameters_are_the_models_own_in_order_with_tied_ones_once(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    expected = [Parameter(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    assert model_parameters(tiny_model) == expected
    assert expected[0].name == "model.embed_tokens.weight"
