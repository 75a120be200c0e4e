"""The rows themselves: `log_probabilities`, whose entries the other forms share."""

import math

import numpy as np
import pytest
import torch

import kernels.triton.softmax
from kernels.logprobs import IDENTITY, LogitTransform
from kernels.triton.logprobs import log_probabilities, token_logprobs
from kernels.triton.runtime import DEVICE, INTERPRETED

VOCABULARY = 70
DTYPES = [torch.float32, torch.bfloat16]
TRANSFORMS = [LogitTransform(soft_cap=1.5), LogitTransform(multiplier=0.5, divisor=0.3), LogitTransform(2.0, 3.0, 0.7)]


@pytest.fixture(autouse=True)
def narrow_tiles(monkeypatch):
    """Five tiles of the vocabulary, the last one ragged."""
    monkeypatch.setattr(kernels.triton.softmax, "LANES", 16)


def random(num_rows, dtype=torch.float32, scale=4.0):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(num_rows, VOCABULARY, generator=generator) * scale).to(DEVICE, dtype)


def reference(logits, temperature, transform=IDENTITY):
    return (transform(logits).double() / temperature).log_softmax(-1)


def by_numpy(row):
    """One row in the order that the module writes down."""
    largest, sums = np.full(16, -3e38, np.float32), np.zeros(16, np.float32)
    for start in range(0, VOCABULARY, 16):
        tile = np.full(16, -np.inf, np.float32)
        tile[: min(16, VOCABULARY - start)] = row[start : start + 16]
        larger = np.maximum(largest, tile)
        largest, sums = larger, np.exp(largest - larger) * sums + np.exp(tile - larger)
    sums = np.exp(largest - largest.max()) * sums
    while len(sums) > 1:
        sums = sums[::2] + sums[1::2]
    return torch.from_numpy(row - largest.max() - np.log(sums))


def test_log_probabilities_of_a_row_written_out_by_hand():
    logits = torch.tensor([[0.0, math.log(2.0), math.log(5.0)]], device=DEVICE)
    for temperature, weights in ((1.0, [1, 2, 5]), (0.5, [1, 4, 25])):
        expected = (torch.tensor([weights], dtype=torch.float64) / sum(weights)).log().to(DEVICE)
        # Each difference of numbers of size up to 4 is rounded to 24 bits.
        assert (log_probabilities(logits, temperature) - expected).abs().max() < 4 * 2.0**-23


@pytest.mark.parametrize("temperature", [1.0, 0.7, 3.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_those_of_float64_to_the_rounding_of_fp32(dtype, temperature):
    logits = random(3, dtype)
    out, expected = log_probabilities(logits, temperature), reference(logits, temperature)
    assert out.dtype == torch.float32
    # A division and two subtractions, each off by at most 2^-24 and by 0.4 of that on average.
    assert (out - expected).norm() < 2.0**-24 * expected.norm()


def test_bf16_logits_have_the_bits_of_the_same_numbers_in_fp32():
    logits = random(3, torch.bfloat16)
    assert torch.equal(log_probabilities(logits, 0.7), log_probabilities(logits.float(), 0.7))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_what_a_family_does_to_its_logits_rounds_to_their_dtype_as_in_torch(transform, dtype):
    logits = random(3, dtype, scale=1.0)
    out, expected = log_probabilities(logits, 0.7, transform), reference(logits, 0.7, transform)
    # The bound of the test above: a number of 8 bits that fell on the other side of a tie would be far beyond it.
    assert (out - expected).norm() < 2.0**-24 * expected.norm()


def test_a_temperature_for_each_row_gives_the_bits_of_one_number_for_all():
    logits = random(4)
    each = torch.tensor([[1.0, 0.0], [0.3, 0.0], [1.3, 0.0], [0.3, 0.0]], device=DEVICE)[:, :1]  # a column of a table
    expected = torch.cat([log_probabilities(logits[i : i + 1], each[i].item()) for i in range(4)])
    assert torch.equal(log_probabilities(logits, each), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_keeps_its_bits_in_every_batch_and_whatever_lies_behind_its_memory(dtype):
    logits = random(5, dtype)
    padded = torch.cat([logits, torch.full((5, 9), 50.0, device=DEVICE, dtype=dtype)], dim=1)
    whole = log_probabilities(logits, 0.7)
    assert torch.equal(log_probabilities(logits[3:4], 0.7), whole[3:4])
    assert torch.equal(log_probabilities(padded[1:, :VOCABULARY], 0.7), whole[1:])


@pytest.mark.parametrize("temperature, transform", [(1.0, IDENTITY), (0.7, TRANSFORMS[2])], ids=["plain", "all"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_entries_are_bit_for_bit_those_of_the_token_form(dtype, temperature, transform):
    logits, tokens = random(3, dtype), torch.tensor([0, 16, 69], device=DEVICE)
    full = log_probabilities(logits, temperature, transform)
    scored = token_logprobs(logits, tokens, temperature, transform).logprobs
    assert torch.equal(scored, full.gather(1, tokens[:, None])[:, 0])


@pytest.mark.skipif(not INTERPRETED, reason="the device has its own exponential")
def test_rows_are_summed_lane_by_lane_and_then_along_the_tree():
    rows = random(4, scale=1.0)
    rows[:, 5] += 5  # its own log-probability is near 0 and shows the last bit of the sum
    assert torch.equal(log_probabilities(rows, 1.0), torch.stack([by_numpy(row.numpy()) for row in rows]))


def test_logits_of_minus_infinity_have_probability_zero_and_leave_the_others_alone():
    logits = random(2)
    logits[0, :40] = logits[1, 50:] = -float("inf")
    out = log_probabilities(logits, 1.0)
    entropy = token_logprobs(logits, torch.tensor([69, 0], device=DEVICE), 1.0).entropy
    assert (out[0, :40] == -float("inf")).all()
    assert (out[1, 50:] == -float("inf")).all()
    for row, seen in enumerate((slice(40, 70), slice(0, 50))):
        expected = reference(logits, 1.0)[row, seen]
        assert (out[row, seen] - expected).norm() < 2.0**-24 * expected.norm()
        assert abs(entropy[row] + (expected.exp() * expected).sum()) < 8 * 2.0**-24


@pytest.mark.parametrize("bad", [random(2).half(), random(2)[0], random(4).t()], ids=["float16", "one row", "columns"])
def test_what_are_not_rows_of_logits_is_refused(bad):
    with pytest.raises(ValueError, match=r"logits must be \(rows, vocabulary\) in bfloat16 or float32 with contiguous"):
        log_probabilities(bad, 1.0)
