import math

import pytest
import torch

import kernels.logprobs
from kernels.certify import certify_linear
from kernels.linear import LinearPlan, PackedWeight
from kernels.logprobs import LogitTransform, log_probabilities, logprobs_reference, projected_logprobs

VOCABULARY, DEPTH = 300, 64
TEMPERATURES = [1.0, 0.7]


@pytest.fixture(scope="module")
def plan():
    return certify_linear([(VOCABULARY, DEPTH)], torch.float32, row_counts=(1, 2, 5, 7, 8, 19, 64, 256))


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def inputs(num_tokens, dtype=torch.float32):
    """hidden, weight, tokens; logits have a standard deviation of 1."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, DEPTH, generator=generator).to(dtype)
    weight = (torch.randn(VOCABULARY, DEPTH, generator=generator) * DEPTH**-0.5).to(dtype)
    return hidden, weight, torch.randint(VOCABULARY, (num_tokens,), generator=generator)


def gradients(hidden, weight, tokens, temperature, grad, plan):
    leaves = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    projected_logprobs(*leaves, PackedWeight(weight, plan), tokens, temperature).logprobs.backward(grad)
    return [leaf.grad for leaf in leaves]


def reference_gradients(hidden, weight, tokens, temperature, grad):
    leaves = [hidden.double().requires_grad_(), weight.double().requires_grad_()]
    logprobs_reference(*leaves, tokens, temperature).backward(grad.double())
    return [leaf.grad for leaf in leaves]


def test_log_probabilities_of_a_row_written_out_by_hand():
    logits = torch.tensor([[0.0, math.log(2.0), math.log(5.0)]])
    expected = torch.tensor([[1 / 8, 2 / 8, 5 / 8]], dtype=torch.float64).log()
    torch.testing.assert_close(log_probabilities(logits, 1.0).double(), expected, rtol=0, atol=3e-7)
    # At temperature 0.5 the weights are squared: 1, 4, 25.
    expected = torch.tensor([[1 / 30, 4 / 30, 25 / 30]], dtype=torch.float64).log()
    torch.testing.assert_close(log_probabilities(logits, 0.5).double(), expected, rtol=0, atol=5e-7)


def test_bf16_logits_are_normalised_in_fp32():
    logits = torch.randn(5, VOCABULARY, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(log_probabilities(logits, 0.7), log_probabilities(logits.float(), 0.7))
    assert log_probabilities(logits, 0.7).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.1, 0.3, 0.7, 1.0, 1.3, 3.0])
def test_a_temperature_for_each_row_gives_the_bits_of_one_number_for_all(temperature):
    logits = torch.randn(33, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 5
    per_row = torch.full((33, 1), temperature, dtype=torch.float32)
    assert torch.equal(log_probabilities(logits, per_row), log_probabilities(logits, temperature))


@pytest.mark.parametrize("vocabulary", [7, 300, 4099])
def test_a_row_of_log_probabilities_keeps_its_bits_in_every_batch(vocabulary, restore_threads):
    logits = torch.randn(65, vocabulary, generator=torch.Generator().manual_seed(0)) * 4
    alone = torch.cat([log_probabilities(row[None], 0.7) for row in logits])
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for count in (2, 7, 64, 65):
            assert torch.equal(log_probabilities(logits[-count:], 0.7), alone[-count:])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_values_are_those_of_the_float64_reference(plan, temperature):
    hidden, weight, tokens = inputs(41)
    out = projected_logprobs(hidden, weight, PackedWeight(weight, plan), tokens, temperature)
    expected = logprobs_reference(hidden, weight, tokens, temperature)
    torch.testing.assert_close(out.logprobs.double(), expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("chunk_rows", [8, 256])
def test_gradients_are_those_of_the_float64_reference(plan, temperature, chunk_rows, monkeypatch):
    monkeypatch.setattr(kernels.logprobs, "CHUNK_ROWS", chunk_rows)
    hidden, weight, tokens = inputs(41)
    tokens[5] = tokens[6] = tokens[7]
    grad = torch.randn(41, generator=torch.Generator().manual_seed(1))
    mine = gradients(hidden, weight, tokens, temperature, grad, plan)
    for got, expected in zip(mine, reference_gradients(hidden, weight, tokens, temperature, grad), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=2e-6)


def test_bf16_gradients_carry_the_rounding_of_the_logit_gradients_and_their_own():
    hidden, weight, tokens = inputs(41, torch.bfloat16)
    grad = torch.randn(41, generator=torch.Generator().manual_seed(1))
    mine = gradients(hidden, weight, tokens, 0.7, grad, LinearPlan("aten", 8))
    # bf16 logits are rounded (relative 2^-8, up to about 4), which moves each probability by up to 2^-8 * 4 / 0.7.
    for got, expected in zip(mine, reference_gradients(hidden, weight, tokens, 0.7, grad), strict=True):
        assert got.dtype == torch.bfloat16
        assert (got.double() - expected).norm() < 2.0**-7 * expected.norm()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_forward_bits_are_those_of_log_probabilities_of_the_packed_product(plan, temperature):
    hidden, weight, tokens = inputs(41)
    packed = PackedWeight(weight, plan)
    expected = log_probabilities(packed(hidden), temperature).gather(1, tokens[:, None])[:, 0]
    assert torch.equal(projected_logprobs(hidden, weight, packed, tokens, temperature).logprobs, expected)


@pytest.mark.parametrize("chunk_rows", [1, 7, 40, 41])
def test_forward_bits_do_not_depend_on_the_chunks(plan, chunk_rows, monkeypatch):
    hidden, weight, tokens = inputs(41)
    packed = PackedWeight(weight, plan)
    whole = projected_logprobs(hidden, weight, packed, tokens, 0.7)
    monkeypatch.setattr(kernels.logprobs, "CHUNK_ROWS", chunk_rows)
    chunked = projected_logprobs(hidden, weight, packed, tokens, 0.7)
    assert torch.equal(chunked.logprobs, whole.logprobs)
    assert torch.equal(chunked.entropy, whole.entropy)


def test_entropy_is_that_of_the_categorical_distribution_at_the_temperature(plan):
    hidden, weight, tokens = inputs(41)
    out = projected_logprobs(hidden, weight, PackedWeight(weight, plan), tokens, 0.7)
    expected = torch.distributions.Categorical(logits=hidden.double() @ weight.double().t() / 0.7).entropy()
    torch.testing.assert_close(out.entropy.double(), expected, rtol=1e-6, atol=1e-5)
    assert not out.entropy.requires_grad


def test_at_most_chunk_rows_of_logits_are_formed_at_once(plan, monkeypatch):
    hidden, weight, tokens = inputs(600)
    packed, seen = PackedWeight(weight, plan), []

    def spy(rows):
        seen.append(len(rows))
        return packed(rows)

    hidden.requires_grad_()
    logprobs = projected_logprobs(hidden, weight.requires_grad_(), spy, tokens, 1.0).logprobs
    assert seen == [256, 256, 88]
    logprobs.sum().backward()
    assert seen == [256, 256, 88] * 2


def test_no_logits_are_kept_for_the_backward_pass(plan):
    hidden, weight, tokens = inputs(600)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        projected_logprobs(hidden.requires_grad_(), weight, PackedWeight(weight, plan), tokens, 1.0)
    assert sorted(sizes) == sorted([600 * DEPTH, VOCABULARY * DEPTH, 600])


TRANSFORMS = [LogitTransform(soft_cap=1.5), LogitTransform(multiplier=0.5, divisor=0.3), LogitTransform(2.0, 3.0, 0.7)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_what_a_family_does_to_its_logits_is_in_values_and_gradients(transform, plan):
    hidden, weight, tokens = inputs(40)
    grad = torch.randn(40, generator=torch.Generator().manual_seed(1))
    mine = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    theirs = [t.double().requires_grad_() for t in (hidden, weight)]
    scored = projected_logprobs(*mine, PackedWeight(weight, plan), tokens, 0.7, transform).logprobs
    expected = logprobs_reference(*theirs, tokens, 0.7, transform)
    torch.testing.assert_close(scored.double(), expected, rtol=1e-5, atol=2e-6)
    scored.backward(grad)
    expected.backward(grad.double())
    for ours, reference in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-4, atol=5e-6)
