import pytest
import torch

from rl.adamw import LANES, CanonicalAdamW

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.01}
SIZE = 8 * LANES + 13
NUM_STEPS = 3


@pytest.fixture(scope="module")
def values():
    generator = torch.Generator().manual_seed(0)
    # Gradients over many orders of magnitude, so that roundings differ where they can.
    scales = 10.0 ** torch.randint(-6, 2, (NUM_STEPS, SIZE), generator=generator).float()
    return torch.randn(SIZE, generator=generator), torch.randn(NUM_STEPS, SIZE, generator=generator) * scales


def stepped(optimizer, values, place):
    """Parameter, moments and number of steps after steps over a part of the values."""
    start, gradients = values
    parameter = torch.nn.Parameter(start[place].clone())
    taker = optimizer([parameter], **SETTINGS)
    for gradient in gradients:
        parameter.grad = gradient[place].clone()
        taker.step()
    state = taker.state[parameter]
    return torch.stack([parameter.detach(), state["exp_avg"], state["exp_avg_sq"]]), state["step"].item()


@pytest.mark.parametrize("size", [1, 7, 31, LANES, LANES + 1, 3 * LANES - 5])
def test_every_element_has_its_bits_wherever_a_partition_is_cut(values, size):
    whole, _ = stepped(CanonicalAdamW, values, slice(None))
    for start in range(0, SIZE, size):
        part, num_steps = stepped(CanonicalAdamW, values, slice(start, start + size))
        assert torch.equal(part, whole[:, start : start + size])
        assert num_steps == NUM_STEPS


def test_it_is_the_adamw_of_torch(values):
    found, num_steps = stepped(CanonicalAdamW, values, slice(None))
    expected, _ = stepped(lambda *args, **kwargs: torch.optim.AdamW(*args, **kwargs, fused=True), values, slice(None))
    whole = SIZE // LANES * LANES
    assert torch.equal(found[:, :whole], expected[:, :whole])
    torch.testing.assert_close(found[:, whole:], expected[:, whole:], rtol=1e-5, atol=1e-7)
    assert num_steps == NUM_STEPS


def test_a_parameter_without_a_gradient_is_left_alone():
    parameter = torch.nn.Parameter(torch.ones(3))
    CanonicalAdamW([parameter], **SETTINGS).step()
    assert parameter.tolist() == [1.0, 1.0, 1.0]
