"""Part 4: the time of each op in bf16, beside what torch has for it and beside the roofline of this very device."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from kernels.attention import Scores
from kernels.triton.attention import paged_attention
from kernels.triton.check.bits import EPS
from kernels.triton.check.certification import tiles_for
from kernels.triton.check.findings import Ceilings, Certified, Timing
from kernels.triton.check.parts import Part
from kernels.triton.check.sizes import Sizes
from kernels.triton.check.tensors import Draws
from kernels.triton.linear import product
from kernels.triton.logprobs import token_logprobs
from kernels.triton.rms_norm import rms_norm
from kernels.triton.runtime import DEVICE
from kernels.triton.tiles import Tiles

DTYPE = torch.bfloat16
WARM_UPS = 3
BLOCK_SIZE = 16
"""Of the cache, as vLLM has it on CUDA."""
Op = Callable[[], object]
Clock = Callable[[Op], float]
"""Seconds that an op takes."""


def cuda_clock(sizes: Sizes) -> Clock:
    """Median device time between two CUDA events. The caches are flushed before each repeat.

    The flush keeps the device busy while the host gets the op ready, so that launching it is not counted unless it
    takes longer than that.
    """

    def seconds(op: Op) -> float:
        flushed = torch.empty(sizes.copy_bytes, dtype=torch.int8, device=DEVICE)
        for _ in range(WARM_UPS):
            op()
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(sizes.repeats)]
        for start, end in pairs:
            flushed.zero_()
            start.record()
            op()
            end.record()
        torch.cuda.synchronize()
        return statistics.median(start.elapsed_time(end) for start, end in pairs) / 1000

    return seconds


def ceilings(sizes: Sizes, clock: Clock) -> list[Ceilings]:
    """One finding: the bandwidth of a large copy and the rate of a large bf16 product."""
    draws = Draws()
    source = draws.normal(sizes.copy_bytes // DTYPE.itemsize, dtype=DTYPE)
    copy, size = torch.empty_like(source), sizes.matmul_size
    a, b = draws.normal(size, size, dtype=DTYPE), draws.normal(size, size, dtype=DTYPE)
    copy_s = clock(lambda: copy.copy_(source))
    return [Ceilings(2 * sizes.copy_bytes / copy_s, 2 * size**3 / clock(lambda: a @ b))]


@dataclass(frozen=True)
class Bench:
    """How ops are timed in this run."""

    sizes: Sizes
    clock: Clock
    ceilings: Ceilings

    def timing(
        self, op: str, case: str, rows: int, mine: Op, peer: tuple[str, Op], work: tuple[float, float]
    ) -> Timing:
        """work: the bytes that must be read or written, each once, and the floating-point operations."""
        floor_s = self.ceilings.floor_s(*work)
        return Timing(op, case, rows, self.clock(mine), peer[0], self.clock(peer[1]), floor_s)


def parts(sizes: Sizes, certified: Iterable[Certified], clock: Clock, measured: Ceilings) -> Iterator[Part]:
    """A part for each op, each over all row counts."""
    bench, known = Bench(sizes, clock, measured), tuple(certified)
    for weight, shape in sizes.large.weights.items():
        tiles = tiles_for(shape, DTYPE, known)
        yield Part(f"speed of linear {weight}", partial(_linear, bench, weight, tiles))
    yield Part("speed of attention, decode", partial(_decode, bench))
    yield Part("speed of attention, prefill", partial(_prefill, bench))
    yield Part("speed of RMSNorm", partial(_norm, bench))
    yield Part("speed of log-probabilities", partial(_logprobs, bench))


def _linear(bench: Bench, weight: str, tiles: Tiles) -> Iterator[Timing]:
    draws, (num_columns, depth) = Draws(), bench.sizes.large.weights[weight]
    matrix = draws.normal(num_columns, depth, dtype=DTYPE, scale=depth**-0.5)
    for rows in bench.sizes.timed_rows:
        x = draws.normal(rows, depth, dtype=DTYPE)
        mine, theirs = partial(product, x, matrix, None, tiles), partial(F.linear, x, matrix)
        num_bytes = DTYPE.itemsize * (matrix.numel() + rows * (depth + num_columns))
        work = num_bytes, 2 * rows * matrix.numel()
        yield bench.timing("linear", f"{weight} {num_columns} x {depth}", rows, mine, ("F.linear", theirs), work)


def _norm(bench: Bench) -> Iterator[Timing]:
    draws, size = Draws(), bench.sizes.large.hidden
    weight = draws.normal(size, dtype=DTYPE)
    for rows in bench.sizes.timed_rows:
        x = draws.normal(rows, size, dtype=DTYPE)
        mine, theirs = partial(rms_norm, x, weight, EPS), partial(F.rms_norm, x, (size,), weight, EPS)
        work = DTYPE.itemsize * (2 * x.numel() + size), 0
        yield bench.timing("RMSNorm", f"width {size}", rows, mine, ("F.rms_norm", theirs), work)


def _logprobs(bench: Bench) -> Iterator[Timing]:
    draws, vocabulary = Draws(), bench.sizes.large.vocabulary
    for rows in bench.sizes.timed_rows:
        logits, tokens = draws.normal(rows, vocabulary, dtype=DTYPE, scale=2.0), draws.below(vocabulary, rows)
        mine = partial(token_logprobs, logits, tokens, 1.0)
        theirs = partial(_torch_logprobs, logits, tokens[:, None])
        work = DTYPE.itemsize * logits.numel() + 16 * rows, 0
        peer = "fp32 log_softmax, gather", theirs
        yield bench.timing("log-probabilities", f"vocabulary {vocabulary}", rows, mine, peer, work)


def _torch_logprobs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(logits, -1, dtype=torch.float32).gather(1, tokens)


def _decode(bench: Bench) -> Iterator[Timing]:
    """Rows are sequences, each with one query and `timed_keys` keys of its own."""
    length = bench.sizes.timed_keys
    for rows in bench.sizes.timed_rows:
        query = Draws().normal(rows, *_heads(bench)[0], dtype=DTYPE)
        yield _attention_timing(bench, f"decode, {length} keys each", query, num_sequences=rows, num_keys=length)


def _prefill(bench: Bench) -> Iterator[Timing]:
    """Rows are the tokens of one sequence."""
    for rows in bench.sizes.timed_rows:
        query = Draws().normal(rows, *_heads(bench)[0], dtype=DTYPE)
        yield _attention_timing(bench, "prefill, one sequence", query, num_sequences=1, num_keys=rows)


def _heads(bench: Bench) -> tuple[tuple[int, int], tuple[int, int]]:
    """(heads, head_dim) of queries and of keys."""
    model = bench.sizes.large
    return (model.num_heads, model.head_dim), (model.num_kv_heads, model.head_dim)


def _attention_timing(bench: Bench, case: str, query: torch.Tensor, num_sequences: int, num_keys: int) -> Timing:
    """Queries are the last tokens of their sequences; a decode step's sees all keys, a prefill's those before it."""
    rows, (heads, head_dim), (kv_heads, _) = len(query), *_heads(bench)
    num_blocks, draws = -(-num_keys // BLOCK_SIZE), Draws(1)
    cache = draws.normal(num_sequences * num_blocks, 2, BLOCK_SIZE, kv_heads, head_dim, dtype=DTYPE)
    table = torch.arange(len(cache), dtype=torch.int32, device=DEVICE).view(num_sequences, num_blocks)
    counts = torch.full((num_sequences,), num_keys, dtype=torch.int32, device=DEVICE)
    starts = torch.arange(num_sequences + 1, dtype=torch.int32, device=DEVICE) * (rows // num_sequences)
    scores = Scores(head_dim**-0.5)
    mine = partial(paged_attention, query, cache, table, counts, starts, scores, max_num_keys=num_keys)
    dense = query.view(num_sequences, -1, heads, head_dim).transpose(1, 2)
    keys, values = draws.normal(2, num_sequences, kv_heads, num_keys, head_dim, dtype=DTYPE)
    is_causal = rows > num_sequences
    theirs = partial(F.scaled_dot_product_attention, dense, keys, values, is_causal=is_causal, enable_gqa=True)
    seen = num_sequences * num_keys if not is_causal else num_keys * (num_keys + 1) / 2
    work = DTYPE.itemsize * 2 * (query.numel() + keys.numel()), 4 * seen * heads * head_dim
    return bench.timing("attention", case, rows, mine, ("scaled_dot_product_attention", theirs), work)
