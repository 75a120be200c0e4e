import hashlib

import numpy as np
import pytest
from scipy import stats

from rollout.draws import DrawKey, philox4x32, uniforms

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [  # counter, key, output: kat_vectors of Random123
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (ONES, ONES, ONES, ONES),
        (ONES, ONES),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draws(key, num_draws, first=0):
    return uniforms([key.counter_words()] * num_draws, list(range(first, first + num_draws)))


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_known_answers(counter, key, output):
    assert philox4x32(np.array([counter], np.uint32), np.array([key], np.uint32)).tolist() == [list(output)]


def test_philox_treats_each_row_on_its_own():
    counters, keys, outputs = (np.array(column, np.uint32) for column in zip(*KNOWN_ANSWERS, strict=True))
    assert philox4x32(counters, keys).tolist() == outputs.tolist()


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_a_draw_is_the_upper_53_bits_of_philox_at_position_sample_prompt_and_seed(counter, key, output):
    position, sample, prompt_low, prompt_high = counter
    expected = ((output[0] << 32 | output[1]) >> 11) / 2**53
    assert uniforms([(sample, prompt_low, prompt_high, *key)], [position]).tolist() == [expected]


def test_counter_words_are_sample_prompt_hash_and_seed():
    digest = hashlib.sha256(b"train/0/17").hexdigest()
    low, high = (int.from_bytes(bytes.fromhex(digest[i : i + 8]), "little") for i in (0, 8))
    words = DrawKey(seed=0x1122334455667788, prompt_id="train/0/17", sample=3).counter_words()
    assert words == (3, low, high, 0x55667788, 0x11223344)


def test_draws_lie_in_the_half_open_unit_interval():
    values = draws(DrawKey(0, "p", 0), 10_000)
    assert values.dtype == np.float64
    assert values.min() >= 0
    assert values.max() < 1


def test_a_draw_does_not_depend_on_batch_or_order():
    keys = [DrawKey(7, f"p{i % 5}", i % 3).counter_words() for i in range(60)]
    positions = [i * 13 % 60 for i in range(60)]
    together = uniforms(keys, positions)
    assert [uniforms([key], [position])[0] for key, position in zip(keys, positions, strict=True)] == together.tolist()
    order = np.random.default_rng(0).permutation(60)
    shuffled = uniforms([keys[i] for i in order], [positions[i] for i in order])
    assert shuffled.tolist() == together[order].tolist()


def test_every_part_of_the_key_changes_the_draw():
    seeds = [uniforms([DrawKey(seed, "p", 0).counter_words()], [0])[0] for seed in (0, 1, 2**32, -1)]
    prompts = [uniforms([DrawKey(0, prompt, 0).counter_words()], [0])[0] for prompt in ("q", "r", "p ", "train/0/1")]
    samples = [uniforms([DrawKey(0, "p", sample).counter_words()], [0])[0] for sample in (1, 2, 3)]
    positions = [uniforms([DrawKey(0, "p", 0).counter_words()], [position])[0] for position in (1, 2, 3)]
    assert len({*seeds, *prompts, *samples, *positions}) == 14


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_draws_of_a_stream_are_uniform(seed):
    assert stats.kstest(draws(DrawKey(seed, "p", 0), 20_000), "uniform").pvalue > 1e-3


def test_first_draws_of_neighbouring_streams_are_uniform():
    by_sample = uniforms([DrawKey(0, "p", sample).counter_words() for sample in range(20_000)], [0] * 20_000)
    by_prompt = uniforms([DrawKey(0, f"train/0/{i}", 0).counter_words() for i in range(20_000)], [0] * 20_000)
    by_seed = uniforms([DrawKey(seed, "p", 0).counter_words() for seed in range(20_000)], [0] * 20_000)
    for values in (by_sample, by_prompt, by_seed):
        assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_neighbouring_positions_are_uncorrelated():
    values = draws(DrawKey(0, "p", 0), 20_001)
    counts, _, _ = np.histogram2d(values[:-1:2], values[1::2], bins=10)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3
