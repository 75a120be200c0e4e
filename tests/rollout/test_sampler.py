import math

import numpy as np
import pytest
import torch
from scipy import stats

from kernels.logprobs import log_probabilities
from rollout.draws import DrawKey, uniforms
from rollout.sampler import SEGMENT, sample_tokens, score_tokens

ALMOST_ONE = 1 - 2.0**-53


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def logits(num_rows, vocabulary, spread=2.0, seed=0):
    return torch.randn(num_rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


def random_draws(num_draws, seed=0):
    key = DrawKey(seed, "prompt", 0).counter_words()
    return torch.from_numpy(uniforms([key] * num_draws, list(range(num_draws))))


def sample(rows, temperature, draws):
    draws = torch.as_tensor(draws, dtype=torch.float64)
    return sample_tokens(rows, torch.full((len(rows),), temperature), draws)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_tokens_follow_the_distribution_of_the_model(temperature):
    row, num_draws = logits(1, 300), 50_000
    counts = np.zeros(300)
    for part in random_draws(num_draws).split(5_000):
        tokens, _ = sample(row.expand(len(part), -1), temperature, part)
        counts += np.bincount(tokens.numpy(), minlength=300)
    expected = (row[0].double() / temperature).softmax(0).numpy() * num_draws
    rare = expected < 5  # too few for a chi-square: counted together
    observed = [*counts[~rare], counts[rare].sum()]
    assert stats.chisquare(observed, [*expected[~rare], expected[rare].sum()]).pvalue > 1e-3


@pytest.mark.parametrize("vocabulary", [5, 256, 300, 1000])
def test_the_token_is_that_of_a_plain_float64_inverse_transform(vocabulary):
    rows, draws = logits(500, vocabulary), random_draws(500)
    cumulative = (rows.double() / 0.7).softmax(-1).cumsum(-1)
    expected = (cumulative <= draws[:, None]).sum(-1)
    # fp32 probabilities move the ends of a token's interval a little; a draw that close to one may go either way.
    clear = ((cumulative - draws[:, None]).abs() > 1e-5).all(-1)
    tokens, _ = sample(rows, 0.7, draws)
    assert clear.sum() > 480
    assert torch.equal(tokens[clear], expected[clear])


def test_draws_pick_the_tokens_of_a_distribution_written_out_by_hand():
    # Probabilities 1/2, 1/4, 1/8, 1/8 end at 0.5, 0.75, 0.875, 1.
    row = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    draws = [0.0, 0.4999, 0.5001, 0.7499, 0.7501, 0.8749, 0.8751, ALMOST_ONE]
    tokens, logprobs = sample(row.expand(8, -1), 1.0, draws)
    assert tokens.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    expected = [math.log(p) for p in (0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125)]
    assert logprobs.tolist() == pytest.approx(expected, abs=1e-6)


def test_tokens_on_both_sides_of_a_segment_boundary_are_found():
    middles = [0, SEGMENT - 1, SEGMENT, 2 * SEGMENT - 1, 2 * SEGMENT, 599]
    tokens, _ = sample(torch.zeros(6, 600), 1.0, [(token + 0.5) / 600 for token in middles])
    assert tokens.tolist() == middles


@pytest.mark.parametrize("vocabulary", [300, 4099])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_row_has_the_same_token_and_logprob_alone_and_in_every_batch(vocabulary, temperature, restore_threads):
    rows, draws = logits(65, vocabulary), random_draws(65)
    alone = [sample(row[None], temperature, draw[None]) for row, draw in zip(rows, draws, strict=True)]
    tokens, logprobs = (torch.cat(part) for part in zip(*alone, strict=True))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for count in (2, 7, 64, 65):
            some_tokens, some_logprobs = sample(rows[-count:], temperature, draws[-count:])
            assert torch.equal(some_tokens, tokens[-count:])
            assert torch.equal(some_logprobs, logprobs[-count:])


def test_the_log_probability_has_the_bits_of_the_shared_function():
    rows = logits(33, 300)
    tokens, logprobs = sample(rows, 0.7, random_draws(33))
    assert torch.equal(logprobs, log_probabilities(rows, 0.7).gather(1, tokens[:, None])[:, 0])
    assert (tokens.dtype, logprobs.dtype) == (torch.int64, torch.float32)


def test_temperature_0_takes_the_most_likely_token_with_its_log_probability_at_temperature_1():
    rows = logits(33, 300)
    tokens, logprobs = sample(rows, 0.0, random_draws(33))
    assert torch.equal(tokens, rows.argmax(-1))
    assert torch.equal(logprobs, log_probabilities(rows, 1.0).amax(-1))


def test_each_row_keeps_its_own_temperature_in_a_mixed_batch():
    rows, draws = logits(9, 300), random_draws(9)
    temperatures = torch.tensor([0.0, 0.7, 1.0] * 3)
    tokens, logprobs = sample_tokens(rows, temperatures, draws)
    for i in range(9):
        token, logprob = sample_tokens(rows[i : i + 1], temperatures[i : i + 1], draws[i : i + 1])
        assert torch.equal(tokens[i : i + 1], token)
        assert torch.equal(logprobs[i : i + 1], logprob)


@pytest.mark.parametrize("draw", [0.0, 5e-324, 0.5, ALMOST_ONE])
@pytest.mark.parametrize("possible", [[0], [299], [7, 255], [256, 298], list(range(3, 260))])
def test_tokens_with_logits_of_minus_infinity_are_never_drawn(draw, possible):
    rows = torch.full((64, 300), float("-inf"))
    rows[:, possible] = logits(64, len(possible), spread=5.0)
    tokens, logprobs = sample(rows, 1.0, [draw] * 64)
    assert set(tokens.tolist()) <= set(possible)
    assert bool(logprobs.isfinite().all())


@pytest.mark.parametrize("vocabulary", [1, 5, 255, 256, 257, 300, 1000])
@pytest.mark.parametrize("draw", [0.0, ALMOST_ONE])
def test_the_smallest_and_the_largest_draw_give_tokens_that_have_probability(vocabulary, draw):
    rows = logits(200, vocabulary, spread=20.0)  # so peaked that most probabilities are 0 in fp32
    tokens, logprobs = sample(rows, 1.0, [draw] * 200)
    assert bool(((tokens >= 0) & (tokens < vocabulary)).all())
    assert bool((logprobs.exp() > 0).all())


def test_bf16_logits_are_sampled_in_fp32():
    rows, draws = logits(33, 300).bfloat16(), random_draws(33)
    for mine, theirs in zip(sample(rows, 0.7, draws), sample(rows.float(), 0.7, draws), strict=True):
        assert torch.equal(mine, theirs)


def scores(rows, tokens, temperatures, num_top):
    return score_tokens(rows, tokens, torch.tensor(temperatures), torch.tensor(num_top))


def test_scores_have_the_bits_of_the_shared_function_at_each_row_s_temperature():
    rows = logits(6, 300)
    tokens = torch.arange(6) * 50
    found, _ = scores(rows, tokens, [1.0, 0.7, 0.25] * 2, [0] * 6)
    for i, temperature in enumerate([1.0, 0.7, 0.25] * 2):
        assert found[i] == log_probabilities(rows[i : i + 1], temperature)[0, tokens[i]]
    all_at_one, _ = scores(rows, tokens, [1.0] * 6, [0] * 6)
    assert torch.equal(all_at_one, log_probabilities(rows, 1.0).gather(1, tokens[:, None])[:, 0])


def test_the_confidence_is_minus_the_mean_of_the_likeliest_log_probabilities():
    row = torch.tensor([0.125, 0.5, 0.125, 0.25]).log().expand(4, -1)
    _, confidences = scores(row, torch.zeros(4, dtype=torch.int64), [1.0] * 4, [1, 2, 4, 0])
    expected = [math.log(2), (math.log(2) + math.log(4)) / 2, (math.log(2) + math.log(4) + 2 * math.log(8)) / 4, 0.0]
    assert confidences.tolist() == pytest.approx(expected, abs=1e-6)
    assert confidences.dtype == torch.float32


@pytest.mark.parametrize("vocabulary", [300, 4099])
def test_scores_and_confidences_of_a_row_are_the_same_alone_and_in_every_batch(vocabulary, restore_threads):
    rows, tokens, num_top = logits(65, vocabulary), torch.arange(65), [20, 7, 0, 1, 3] * 13
    alone = [scores(rows[i : i + 1], tokens[i : i + 1], [1.0], num_top[i : i + 1]) for i in range(65)]
    expected = [torch.cat(part) for part in zip(*alone, strict=True)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for count in (2, 7, 65):
            found = scores(rows[-count:], tokens[-count:], [1.0] * count, num_top[-count:])
            assert all(torch.equal(mine, whole[-count:]) for mine, whole in zip(found, expected, strict=True))
