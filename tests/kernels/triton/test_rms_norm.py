import pytest
import torch

import kernels.triton.rms_norm
from kernels.triton.rms_norm import rms_norm, rms_norm_reference
from kernels.triton.runtime import DEVICE

SIZE, EPS = 40, 1e-5
FORMS = ["llama", "gemma"]
DTYPES = [torch.float32, torch.bfloat16]


def inputs(num_rows, dtype=torch.float32, size=SIZE):
    """x of rows with scales from 1/8 to 8, weight."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_rows, size, generator=generator) * 2.0 ** torch.linspace(-3, 3, num_rows)[:, None]
    return x.to(DEVICE, dtype), torch.randn(size, generator=generator).to(DEVICE, dtype)


def by_torch(x, weight, form):
    """The definition, operation by operation, with the squares added along the tree."""
    wide = x.float()
    squares = torch.nn.functional.pad(wide * wide, (0, 64 - SIZE))
    while squares.shape[1] > 1:
        squares = squares[:, ::2] + squares[:, 1::2]
    normed = wide * (1 / (squares / SIZE + EPS).sqrt())
    if form == "gemma":
        return (normed * (1 + weight.float())).to(x.dtype)
    return (normed.to(x.dtype).float() * weight.float()).to(x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_the_bits_are_those_of_the_definition_written_in_torch(form, dtype):
    x, weight = inputs(5, dtype)
    assert torch.equal(rms_norm(x, weight, EPS, form), by_torch(x, weight, form))


@pytest.mark.parametrize("form", FORMS)
def test_values_are_those_of_float64_to_the_roundings_of_each_form(form):
    for dtype, bound in (
        (torch.float32, 1.5 * 2.0**-24),  # some six roundings, of at most 2^-24 and of 0.4 of that on average
        (torch.bfloat16, 2.0**-8 * (0.5 if form == "gemma" else 0.7)),  # llama rounds to 8 bits twice
    ):
        x, weight = inputs(9, dtype)
        expected = rms_norm_reference(x, weight, EPS, form)
        assert (rms_norm(x, weight, EPS, form) - expected).norm() < bound * expected.norm(), dtype


def test_a_row_written_out_by_hand():
    x, weight = torch.tensor([[1.0, 7.0, 5.0, 5.0]], device=DEVICE), torch.tensor([1.0, 2.0, 0.0, -1.0], device=DEVICE)
    assert rms_norm(x, weight, 0.0).tolist() == [[torch.tensor(0.2).item(), torch.tensor(2.8).item(), 0.0, -1.0]]
    assert rms_norm(x, weight, 0.0, "gemma").tolist()[0][2:] == [1.0, 0.0]


def test_llama_rounds_before_the_weight_and_gemma_after():
    x = torch.tensor([[1.0078125, 1.0]], device=DEVICE).bfloat16()
    normed = x.float() / x.float().square().mean().sqrt()
    llama = rms_norm(x, torch.full((2,), 3.0, device=DEVICE).bfloat16(), 0.0)
    gemma = rms_norm(x, torch.full((2,), 2.0, device=DEVICE).bfloat16(), 0.0, "gemma")
    assert torch.equal(llama, normed.bfloat16() * 3)
    assert torch.equal(gemma, (normed * 3).bfloat16())
    assert not torch.equal(llama, gemma)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_keeps_its_bits_in_every_batch_and_wherever_its_memory_starts(dtype):
    x, weight = inputs(6, dtype, size=37)
    whole = rms_norm(x, weight, EPS)
    assert torch.equal(torch.cat([rms_norm(x[i : i + 1], weight, EPS) for i in (0, 3, 5)]), whole[[0, 3, 5]])
    assert torch.equal(rms_norm(x[1:].view(5, 1, 37), weight, EPS), whole[1:].view(5, 1, 37))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_rows", [1, 9])
def test_gradients_are_those_of_the_float64_reference(num_rows, form, monkeypatch):
    monkeypatch.setattr(kernels.triton.rms_norm, "GROUP_ROWS", 4)  # nine rows are three groups, and one of groups
    x, weight = (t.requires_grad_() for t in inputs(num_rows))
    doubles = [t.detach().double().requires_grad_() for t in (x, weight)]
    grad = torch.randn(num_rows, SIZE, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    rms_norm(x, weight, EPS, form).backward(grad)
    rms_norm_reference(*doubles, EPS, form).backward(grad.double())
    for mine, theirs in zip((x, weight), doubles, strict=True):
        assert (mine.grad - theirs.grad).norm() < 3 * 2.0**-24 * theirs.grad.norm()


@pytest.mark.parametrize("form", FORMS)
def test_bf16_gradients_carry_the_rounding_of_their_dtype(form, monkeypatch):
    monkeypatch.setattr(kernels.triton.rms_norm, "GROUP_ROWS", 4)
    x, weight = (t.requires_grad_() for t in inputs(5, torch.bfloat16))
    doubles = [t.detach().double().requires_grad_() for t in (x, weight)]
    grad = torch.randn(5, SIZE, generator=torch.Generator().manual_seed(1)).to(DEVICE, torch.bfloat16)
    rms_norm(x, weight, EPS, form).backward(grad)
    rms_norm_reference(*doubles, EPS, form).backward(grad.double())
    for mine, theirs in zip((x, weight), doubles, strict=True):
        assert mine.grad.dtype == torch.bfloat16
        assert (mine.grad.double() - theirs.grad).norm() < 2.0**-8 * theirs.grad.norm()


def test_the_gradient_of_a_row_does_not_depend_on_the_others_and_that_of_the_weight_repeats(monkeypatch):
    monkeypatch.setattr(kernels.triton.rms_norm, "GROUP_ROWS", 2)
    x, weight = inputs(5)
    grads = []
    for rows in (x, x, x[3:]):
        leaf, shared = rows.clone().requires_grad_(), weight.clone().requires_grad_()
        rms_norm(leaf, shared, EPS).sin().sum().backward()
        grads.append((leaf.grad, shared.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])
    assert torch.equal(grads[2][0], grads[0][0][3:])


def test_partial_sums_are_added_group_by_group_until_one_row_is_left(monkeypatch):
    monkeypatch.setattr(kernels.triton.rms_norm, "GROUP_ROWS", 3)
    partials = torch.randn(10, 5, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    expected = partials
    while len(expected) > 1:
        groups = []
        for group in expected.split(3):
            total = torch.zeros(5, device=DEVICE)
            for row in group:
                total = total + row
            groups.append(total)
        expected = torch.stack(groups)
    assert torch.equal(kernels.triton.rms_norm._sum_rows(partials), expected[0])


X = torch.zeros(2, 8, device=DEVICE)
BAD = {
    "form must be one of llama, gemma, got 'lama'": (X, X[0], "lama"),
    "both bfloat16 or both float32, got torch.float32 and torch.bfloat16": (X, X[0].bfloat16(), "llama"),
    "both bfloat16 or both float32, got torch.float16 and torch.float16": (X.half(), X[0].half(), "llama"),
    r"x \(..., K\) and weight \(K,\), got \(2, 8\) and \(7,\)": (X, X[0, :7], "llama"),
}


@pytest.mark.parametrize("message", BAD)
def test_what_it_cannot_normalise_is_refused(message):
    x, weight, form = BAD[message]
    with pytest.raises(ValueError, match=message):
        rms_norm(x, weight, EPS, form)
