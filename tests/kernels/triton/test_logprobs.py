import pytest
import torch

import kernels.triton.logprobs
import kernels.triton.softmax
from kernels.logprobs import IDENTITY, LogitTransform, logprobs_reference
from kernels.triton.linear import product
from kernels.triton.logprobs import projected_logprobs, token_logprobs
from kernels.triton.runtime import DEVICE
from kernels.triton.tiles import Block, Tiles

VOCABULARY, DEPTH = 40, 24
TILES = Tiles(32, Block(16, 64, 4, 2), Block(32, 64, 4, 2), few_rows=4)
SOFT_CAPPED = LogitTransform(2.0, 3.0, 0.7)
CASES = [(1.0, IDENTITY), (0.7, IDENTITY), (0.7, SOFT_CAPPED)]


@pytest.fixture(autouse=True)
def small_tiles_and_chunks(monkeypatch):
    """Three tiles of the vocabulary, the last one ragged; seven tokens are two chunks, of six rows and of one."""
    monkeypatch.setattr(kernels.triton.softmax, "LANES", 16)
    monkeypatch.setattr(kernels.triton.logprobs, "CHUNK_ROWS", 6)


def inputs(num_tokens, dtype=torch.float32):
    """hidden, weight, tokens; logits have a standard deviation of 2."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, DEPTH, generator=generator)
    weight = torch.randn(VOCABULARY, DEPTH, generator=generator) * 2 * DEPTH**-0.5
    tokens = torch.randint(VOCABULARY, (num_tokens,), generator=generator)
    tokens[-1] = tokens[0]
    return hidden.to(DEVICE, dtype), weight.to(DEVICE, dtype), tokens.to(DEVICE)


def gradient_of(num_tokens):
    return torch.randn(num_tokens, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def relative(mine, theirs):
    return float((mine.double() - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("temperature, transform", CASES)
def test_values_are_those_of_the_float64_reference(temperature, transform):
    hidden, weight, tokens = inputs(7)
    out = projected_logprobs(hidden, weight, TILES, tokens, temperature, transform)
    expected = logprobs_reference(hidden, weight, tokens, temperature, transform)
    # The logits' own error, 24 products of fp32 each, and the few roundings behind it.
    assert relative(out.logprobs, expected) < 3 * 2.0**-24


@pytest.mark.parametrize("temperature, transform", CASES)
def test_gradients_are_those_of_the_float64_reference(temperature, transform):
    hidden, weight, tokens = inputs(7)
    mine = [t.clone().requires_grad_() for t in (hidden, weight)]
    theirs = [t.double().requires_grad_() for t in (hidden, weight)]
    projected_logprobs(*mine, TILES, tokens, temperature, transform).logprobs.backward(gradient_of(7))
    logprobs_reference(*theirs, tokens, temperature, transform).backward(gradient_of(7).double())
    for ours, reference in zip(mine, theirs, strict=True):
        assert relative(ours.grad, reference.grad) < 4 * 2.0**-24  # a logit's error moves its probability, too


def test_bf16_gradients_carry_the_rounding_of_the_logit_gradients_and_their_own():
    hidden, weight, tokens = inputs(7, torch.bfloat16)
    mine = [t.clone().requires_grad_() for t in (hidden, weight)]
    theirs = [t.double().requires_grad_() for t in (hidden, weight)]
    projected_logprobs(*mine, TILES, tokens, 0.7).logprobs.backward(gradient_of(7))
    logprobs_reference(*theirs, tokens, 0.7).backward(gradient_of(7).double())
    # A logit of size 2 rounded to 8 bits is off by some 2^-9, and so, over 0.7, is its probability. Then the gradients
    # of the logits are rounded, and their own.
    for ours, reference in zip(mine, theirs, strict=True):
        assert ours.grad.dtype == torch.bfloat16
        assert relative(ours.grad, reference.grad) < 2.0**-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_of_the_logits_is_that_of_float64_rounded_to_their_dtype(dtype):
    hidden, weight, tokens = inputs(5, dtype)
    logits = product(hidden, weight, None, TILES).requires_grad_()
    doubles = logits.detach().double().requires_grad_()
    scored = token_logprobs(logits, tokens, 0.7)
    expected = (doubles / 0.7).log_softmax(-1)
    scored.logprobs.backward(gradient_of(5))
    expected.gather(1, tokens[:, None])[:, 0].backward(gradient_of(5).double())
    assert logits.grad.dtype == dtype
    # fp32: an exponential carries the error of its argument. bf16: one rounding, some 0.4 of 2^-8.
    assert relative(logits.grad, doubles.grad) < (2 * 2.0**-24 if dtype == torch.float32 else 0.5 * 2.0**-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_do_not_depend_on_the_chunks_and_are_those_of_the_token_form(dtype, monkeypatch):
    """Five rows are a product of the large block; chunks of them are of the small one, and one is ragged."""
    hidden, weight, tokens = inputs(5, dtype)
    scored = token_logprobs(product(hidden, weight, None, TILES), tokens, 0.7, SOFT_CAPPED)
    monkeypatch.setattr(kernels.triton.logprobs, "CHUNK_ROWS", 3)
    chunked = projected_logprobs(hidden, weight, TILES, tokens, 0.7, SOFT_CAPPED)
    assert torch.equal(chunked.logprobs, scored.logprobs)
    assert torch.equal(chunked.entropy, scored.entropy)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_entropy_is_that_of_the_categorical_distribution_at_the_temperature(temperature):
    hidden, weight, tokens = inputs(5)
    out = projected_logprobs(hidden, weight, TILES, tokens, temperature)
    expected = torch.distributions.Categorical(logits=hidden.double() @ weight.double().t() / temperature).entropy()
    # Entropies of 0.01 to 1 come from logits of size 5, whose error is divided by the temperature.
    assert relative(out.entropy, expected) < 6 * 2.0**-24 / temperature
    assert not out.entropy.requires_grad


def test_at_most_chunk_rows_of_logits_are_formed_at_once_and_none_are_kept(monkeypatch):
    hidden, weight, tokens = inputs(15)
    seen, kept = [], []

    def spy(rows, *others):
        seen.append(len(rows))
        return product(rows, *others)

    monkeypatch.setattr(kernels.triton.logprobs, "product", spy)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        logprobs = projected_logprobs(hidden.requires_grad_(), weight, TILES, tokens, 1.0).logprobs
    assert seen == [6, 6, 3]
    logprobs.sum().backward()
    assert seen == [6, 6, 3] * 2
    assert sorted(kept) == sorted([15 * DEPTH, VOCABULARY * DEPTH, 15, 15, 15])


def test_the_gradient_of_the_logits_is_written_over_them(monkeypatch):
    hidden, weight, tokens = inputs(5)
    written = []
    fill = kernels.triton.softmax.Rows.gradient

    def spy(rows, tokens, grad, out):
        written.append(out.data_ptr() == rows.logits.data_ptr())
        return fill(rows, tokens, grad, out)

    monkeypatch.setattr(kernels.triton.softmax.Rows, "gradient", spy)
    projected_logprobs(hidden.requires_grad_(), weight, TILES, tokens, 1.0).logprobs.sum().backward()
    assert written == [True]


def test_no_gradient_is_formed_of_a_frozen_projection():
    hidden, weight, tokens = inputs(3)
    projected_logprobs(hidden.requires_grad_(), weight, TILES, tokens, 1.0).logprobs.sum().backward()
    assert weight.grad is None
    assert hidden.grad.abs().max() > 0
