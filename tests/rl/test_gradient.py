import hashlib
import math
import weakref

import pytest
import torch

from rl.gradient import (
    CHUNK,
    NORM_ROWS,
    TreeSum,
    chunk_digests,
    clip_factor,
    digest_of_chunks,
    global_norm,
    gradient_digest,
    norm_of_rows,
    row_sums,
    tree_sum,
)


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def random_terms(num_terms, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Of different sizes, so that the order of the additions shows in the last bits.
    return [torch.randn(1000, generator=generator) * 10.0 ** (i % 3) for i in range(num_terms)]


def copies(terms):
    return [term.clone() for term in terms]


def test_four_terms_are_summed_as_two_pairs():
    a, b, c, d = random_terms(4)
    assert torch.equal(tree_sum(copies([a, b, c, d])), (a + b) + (c + d))


def test_eight_terms_are_summed_as_a_balanced_tree():
    a, b, c, d, e, f, g, h = random_terms(8)
    assert torch.equal(tree_sum(copies([a, b, c, d, e, f, g, h])), ((a + b) + (c + d)) + ((e + f) + (g + h)))


def test_one_term_is_its_own_sum():
    (a,) = random_terms(1)
    assert torch.equal(tree_sum([a.clone()]), a)


def test_the_tree_differs_from_a_running_sum_where_rounding_says_so():
    # 2^24 + 1 rounds back to 2^24, one at a time; the pair 1 + 1 is kept.
    terms = [torch.tensor([value]) for value in (2.0**24, 1.0, 1.0, 1.0)]
    assert sum(terms).item() == 2.0**24
    assert tree_sum(copies(terms)).item() == 2.0**24 + 2


@pytest.mark.parametrize(("num_shards", "num_ranks"), [(4, 2), (4, 4), (8, 2), (8, 4), (8, 8)])
def test_any_number_of_ranks_gives_the_bits_of_one(num_shards, num_ranks):
    shards, size = random_terms(num_shards), num_shards // num_ranks
    subtotals = [tree_sum(copies(shards[rank * size : (rank + 1) * size])) for rank in range(num_ranks)]
    assert torch.equal(tree_sum(subtotals), tree_sum(copies(shards)))


@pytest.mark.parametrize("num_terms", [0, 3, 5, 6, 7, 12])
def test_other_than_a_power_of_two_of_terms_is_refused(num_terms):
    with pytest.raises(ValueError, match=r"power of two.*trainer\.num_shards"):
        tree_sum(random_terms(num_terms))


def test_at_most_log2_plus_1_terms_are_alive_at_once():
    tree, alive = TreeSum(), []
    for _ in range(16):
        term = torch.ones(3)
        alive.append(weakref.ref(term))
        tree.add(term)
        del term
        assert sum(ref() is not None for ref in alive) <= 5
    assert tree.total().tolist() == [16.0] * 3


@pytest.mark.parametrize("size", [0, 1, NORM_ROWS - 1, NORM_ROWS, NORM_ROWS + 1, 5 * NORM_ROWS + 17, 100_000])
def test_the_norm_is_the_exact_one_rounded_to_fp32(size):
    flat = torch.randn(size, generator=torch.Generator().manual_seed(size))
    # Squares of fp32 numbers are exact in float64, and fsum adds them exactly.
    exact = math.sqrt(math.fsum(value * value for value in flat.tolist()))
    assert global_norm(flat) == torch.tensor(exact, dtype=torch.float32).item()


def test_the_norm_of_3_and_4_is_5_wherever_they_stand():
    flat = torch.zeros(3 * NORM_ROWS + 5)
    flat[NORM_ROWS - 1], flat[-1] = 3.0, -4.0
    assert global_norm(flat) == 5.0


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_squares_that_leave_the_range_of_fp32_are_summed(scale):
    assert global_norm(torch.tensor([3.0, 4.0]) * scale) == pytest.approx(5 * scale, rel=1e-6)


def test_the_norm_does_not_depend_on_threads(restore_threads):
    for size in (NORM_ROWS * 40 + 5, NORM_ROWS, 3):
        flat = torch.randn(size, generator=torch.Generator().manual_seed(1)) * 1e3
        norms = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            norms.append(global_norm(flat))
        assert len(set(norms)) == 1


def test_a_norm_that_is_not_finite_stays_so():
    assert math.isnan(global_norm(torch.tensor([1.0, float("nan")])))
    assert global_norm(torch.tensor([1.0, float("-inf")])) == math.inf


def test_a_short_gradient_is_left_alone_and_a_long_one_scaled_to_the_limit():
    assert clip_factor(0.5, 1.0) == 1.0
    assert clip_factor(1.0, 1.0) == 1.0
    assert clip_factor(0.0, 1.0) == 1.0
    assert clip_factor(4.0, 1.0) == 1.0 / 4.000001
    assert clip_factor(4.0, 0.5) == 0.5 / 4.000001


def test_a_term_that_was_not_formed_counts_as_zeros():
    values = torch.randn(4, 1000, generator=torch.Generator().manual_seed(3))
    expected = tree_sum([values[0].clone(), values[1].clone(), torch.zeros(1000), values[3].clone()])
    tree = TreeSum()
    for term in (values[0].clone(), values[1].clone(), None, values[3].clone()):
        tree.add(term)
    assert torch.equal(tree.total(), expected)


def test_a_sum_of_nothing_that_was_formed_is_none():
    tree = TreeSum()
    tree.add(None)
    tree.add(None)
    assert tree.total() is None


@pytest.mark.parametrize("num_rows", [1, 3, 16])
def test_row_sums_do_not_depend_on_how_the_rows_are_cut(num_rows):
    flat = torch.randn(100 * NORM_ROWS + 77, generator=torch.Generator().manual_seed(7)) * 1e3
    parts = [row_sums(part) for part in flat.split(num_rows * NORM_ROWS)]
    assert torch.equal(torch.cat(parts), row_sums(flat))
    # Rows of zeros, as a rank has them whose slice lies behind the end, add nothing.
    assert norm_of_rows([*torch.cat(parts).tolist(), 0.0, 0.0]) == global_norm(flat)


def test_a_gradient_digest_is_that_of_its_chunks():
    flat = torch.randn(2 * CHUNK + 5, generator=torch.Generator().manual_seed(7))
    chunks = [hashlib.sha256(part.numpy().tobytes()).digest() for part in flat.split(CHUNK)]
    assert gradient_digest(flat) == hashlib.sha256(b"".join(chunks)).hexdigest()
    slices = torch.cat([chunk_digests(flat[:CHUNK]), chunk_digests(flat[CHUNK:])])
    assert digest_of_chunks(slices) == gradient_digest(flat)
    assert chunk_digests(flat[:0]).shape == (0, 32)


@pytest.mark.parametrize("index", [0, CHUNK - 1, CHUNK, 2 * CHUNK + 4])
def test_one_bit_of_a_gradient_changes_its_digest(index):
    flat = torch.zeros(2 * CHUNK + 5)
    before = gradient_digest(flat)
    flat[index] = -0.0
    assert gradient_digest(flat) != before
