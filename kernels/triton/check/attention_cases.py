"""One sequence's attention, computed whole, in chunks, token by token and behind a shared prompt."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch

from kernels.attention import PackedLayout, Scores
from kernels.attention import Sequence as Rows
from kernels.triton.attention import attention, paged_attention, write_cache
from kernels.triton.check.findings import Bits
from kernels.triton.check.sizes import Model, Sizes
from kernels.triton.check.tensors import Draws, compare
from kernels.triton.runtime import DEVICE

BLOCK_SIZE = 16
"""Not the one that the packed form lays its rows into: it must not matter."""


def compared_attention(model: Model, dtype: torch.dtype, sizes: Sizes) -> Iterator[Bits]:
    """Everything against the whole prefill of `sizes.num_keys` tokens, and gradients against their rerun."""
    length, scores = sizes.num_keys, Scores(model.head_dim**-0.5)
    query, key, value = draw(model, length, dtype)
    whole = attention(query, key, value, PackedLayout((Rows(0, length),)), scores)
    engine = _Engine(key, value, scores)
    found = partial(compare, f"attention {model.head_dim}", dtype)
    yield found(
        f"prefill of {length} tokens in chunks, one call each",
        ((engine(query[start:end], [end], [0, end - start]), whole[start:end]) for start, end in chunks(length)),
    )
    ends = [end for _, end in chunks(length)]
    yield found("the chunks in one batch", [(engine(query, ends, [0, *ends]), whole)])
    at = decoded_positions(length, sizes.num_decoded)
    yield found(
        f"decode of {len(at)} positions in one batch",
        [(engine(query[at], [position + 1 for position in at], range(len(at) + 1)), whole[at])],
    )
    alone = at[:: max(1, len(at) // 16)]
    yield found(
        "decode of single positions",
        ((engine(query[p : p + 1], [p + 1], [0, 1]), whole[p : p + 1]) for p in alone),
    )
    yield found("packed behind a shared prompt", _behind_shared_prompt(query, key, value, whole, scores))
    yield found("gradients, packed and computed again beside another sequence", _gradients(model, dtype, sizes))


def draw(model: Model, num_rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """query, key, value."""
    draws, heads = Draws(), (model.num_heads, model.num_kv_heads, model.num_kv_heads)
    query, key, value = (draws.normal(num_rows, h, model.head_dim, dtype=dtype) for h in heads)
    return query, key, value


def chunks(length: int) -> list[tuple[int, int]]:
    """Uneven chunks of a prefill, one of them of a single token."""
    cuts = [0, length // 8, length // 8 + 1, length // 3, length // 2, length // 2 + 7, length]
    return [(start, end) for start, end in pairwise(cuts) if start < end]


def decoded_positions(length: int, count: int) -> list[int]:
    """The first and the last, the ends of tiles and splits with their neighbours, and some between: about `count`."""
    edges = {edge + step for edge in (16, 32, 64, 512, 1024) for step in (-1, 0, 1)} | {0, length - 1}
    even = range(0, length, max(1, length // max(1, count - len(edges))))
    return sorted(position for position in edges | set(even) if position < length)


class _Engine:
    """Queries of one sequence as an engine asks for them: its keys and values lie in a cache, blocks in any order."""

    def __init__(self, key: torch.Tensor, value: torch.Tensor, scores: Scores):
        num_blocks = -(-len(key) // BLOCK_SIZE)
        self._scores = scores
        self._cache = key.new_full((num_blocks, 2, BLOCK_SIZE, *key.shape[1:]), float("nan"))
        self._blocks = torch.arange(num_blocks - 1, -1, -1, dtype=torch.int32, device=DEVICE)
        position = torch.arange(len(key), device=DEVICE)
        slots = self._blocks[position // BLOCK_SIZE].long() * BLOCK_SIZE + position % BLOCK_SIZE
        write_cache(key, value, self._cache, slots)

    def __call__(self, query: torch.Tensor, num_keys: Sequence[int], query_starts: Sequence[int]) -> torch.Tensor:
        """Each entry of num_keys is a batch member that reads so many keys from the front."""
        table = self._blocks.expand(len(num_keys), -1).contiguous()
        return paged_attention(query, self._cache, table, _int32(num_keys), _int32(query_starts), self._scores)


def _behind_shared_prompt(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, whole: torch.Tensor, scores: Scores
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The last quarter of the sequence twice, as two completions of the rest."""
    length = len(query)
    prompt = length * 3 // 4
    rest = length - prompt
    layout = PackedLayout((Rows(0, prompt), Rows(prompt, rest, 0, prompt), Rows(length, rest, 0, prompt)))
    query, key, value = (torch.cat([t, t[prompt:]]) for t in (query, key, value))
    out = attention(query, key, value, layout, scores)
    yield out[:length], whole
    yield out[length:], whole[prompt:]


def _gradients(model: Model, dtype: torch.dtype, sizes: Sizes) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    length, more = sizes.num_gradient_keys, sizes.num_gradient_keys // 3
    prompt, scores = length // 2, Scores(model.head_dim**-0.5)
    group = (Rows(0, prompt), Rows(prompt, length - prompt, 0, prompt))
    tensors = draw(model, length + more, dtype)
    weight = Draws(1).normal(*tensors[0].shape, dtype=dtype)
    first, second = (
        gradients(tuple(t[:size] for t in tensors), weight[:size], PackedLayout(sequences), scores)
        for size, sequences in ((length, group), (length + more, (*group, Rows(length, more))))
    )
    for alone, beside in zip(first, second, strict=True):
        yield beside[:length], alone


def gradients(
    tensors: Sequence[torch.Tensor], grad_out: torch.Tensor, layout: PackedLayout, scores: Scores
) -> list[torch.Tensor]:
    """Those of query, key and value."""
    query, key, value = (tensor.clone().requires_grad_() for tensor in tensors)
    return list(torch.autograd.grad(attention(query, key, value, layout, scores), (query, key, value), grad_out))


def _int32(numbers: Sequence[int]) -> torch.Tensor:
    return torch.tensor(list(numbers), dtype=torch.int32, device=DEVICE)
