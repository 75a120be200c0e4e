"""Part 2: the same rows computed in other company, bit by bit."""

from collections.abc import Iterable, Iterator
from functools import partial

import torch

from kernels.triton.check.attention_cases import compared_attention
from kernels.triton.check.certification import tiles_for
from kernels.triton.check.findings import Bits, Certified
from kernels.triton.check.parts import Part
from kernels.triton.check.sizes import DTYPE_NAMES, Model, Sizes
from kernels.triton.check.tensors import Draws, compare, unwritten_is_nan, windows
from kernels.triton.linear import product
from kernels.triton.logprobs import log_probabilities, projected_logprobs, token_logprobs
from kernels.triton.rms_norm import rms_norm
from kernels.triton.tiles import Tiles

EPS = 1e-5
TEMPERATURE = 0.7


def parts(sizes: Sizes, certified: Iterable[Certified]) -> Iterator[Part]:
    """A part for each op, shape and dtype."""
    known = tuple(certified)
    for dtype in sizes.dtypes:
        for model in sizes.models:
            attention = partial(compared_attention, model, dtype, sizes)
            yield _part(f"attention, {model.num_heads} heads of {model.head_dim}", dtype, attention)
            yield _part(f"RMSNorm {model.hidden}", dtype, partial(_norms, model, dtype, sizes))
        for weight, shape in sizes.large.weights.items():
            tiles = tiles_for(shape, dtype, known)
            yield _part(f"linear {weight}", dtype, partial(_products, weight, tiles, dtype, sizes))
        tiles = tiles_for(sizes.large.weights["logits"], dtype, known)
        yield _part("log-probabilities", dtype, partial(_logprobs, tiles, dtype, sizes))


def _part(name: str, dtype: torch.dtype, measure: partial[Iterator[Bits]]) -> Part:
    def measured() -> Iterator[Bits]:
        with unwritten_is_nan():
            yield from measure()

    return Part(f"bits of {name} {DTYPE_NAMES[dtype]}", measured)


def _products(weight: str, tiles: Tiles, dtype: torch.dtype, sizes: Sizes) -> Iterator[Bits]:
    draws, (num_columns, depth) = Draws(), sizes.large.weights[weight]
    matrix = draws.normal(num_columns, depth, dtype=dtype, scale=depth**-0.5)
    rows = draws.normal(sizes.num_rows, depth, dtype=dtype)
    whole = product(rows, matrix, None, tiles)
    some = windows(sizes.num_rows, sizes.row_counts)
    yield compare(
        f"linear {weight}",
        dtype,
        f"row counts and positions against {sizes.num_rows} rows",
        ((product(rows[window], matrix, None, tiles), whole[window]) for window in some),
    )
    part = slice(num_columns // 3, num_columns)
    yield compare(
        f"linear {weight}",
        dtype,
        "columns of a merged weight against their own",
        [(product(rows, matrix[part], None, tiles), whole[:, part])],
    )


def _norms(model: Model, dtype: torch.dtype, sizes: Sizes) -> Iterator[Bits]:
    draws = Draws()
    rows, weight = draws.normal(sizes.num_rows, model.hidden, dtype=dtype), draws.normal(model.hidden, dtype=dtype)
    whole = rms_norm(rows, weight, EPS)
    some = windows(sizes.num_rows, sizes.row_counts)
    yield compare(
        f"RMSNorm {model.hidden}",
        dtype,
        f"row counts and positions against {sizes.num_rows} rows",
        ((rms_norm(rows[window], weight, EPS), whole[window]) for window in some),
    )


def _logprobs(tiles: Tiles, dtype: torch.dtype, sizes: Sizes) -> Iterator[Bits]:
    draws, (vocabulary, depth) = Draws(), sizes.large.weights["logits"]
    matrix = draws.normal(vocabulary, depth, dtype=dtype, scale=2 * depth**-0.5)
    hidden = draws.normal(sizes.num_logit_rows, depth, dtype=dtype)
    tokens = draws.below(vocabulary, sizes.num_logit_rows)
    logits = product(hidden, matrix, None, tiles)
    whole = token_logprobs(logits, tokens, TEMPERATURE).logprobs
    found = partial(compare, "log-probabilities", dtype)
    some = list(windows(sizes.num_logit_rows, sizes.row_counts))
    yield found(
        f"row counts and positions against {sizes.num_logit_rows} rows",
        ((token_logprobs(logits[w], tokens[w], TEMPERATURE).logprobs, whole[w]) for w in some),
    )
    yield found(
        "the whole vocabulary against the token alone",
        [(log_probabilities(logits, TEMPERATURE).gather(1, tokens[:, None])[:, 0], whole)],
    )
    yield found(
        "logits in padded memory",
        [(token_logprobs(_padded(logits), tokens, TEMPERATURE).logprobs, whole)],
    )
    yield found(
        "fused with the projection",
        ((projected_logprobs(hidden[w], matrix, tiles, tokens[w], TEMPERATURE).logprobs, whole[w]) for w in some[-9:]),
    )


def _padded(logits: torch.Tensor) -> torch.Tensor:
    """The same numbers, every row from an odd address on."""
    return torch.nn.functional.pad(logits, (1, 2))[:, 1:-2]
