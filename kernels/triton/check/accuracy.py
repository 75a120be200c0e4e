"""Part 3: how far each op is from float64, forward and backward; a subset of rows where float64 would be too dear."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch

from kernels.attention import PackedLayout, Scores
from kernels.attention import Sequence as Rows
from kernels.linear import linear_reference
from kernels.logprobs import logprobs_reference
from kernels.triton.attention import attention
from kernels.triton.check.attention_cases import decoded_positions, draw
from kernels.triton.check.bits import EPS, TEMPERATURE
from kernels.triton.check.certification import tiles_for
from kernels.triton.check.findings import Certified, Error
from kernels.triton.check.parts import Part
from kernels.triton.check.sizes import DTYPE_NAMES, Model, Sizes
from kernels.triton.check.tensors import Draws, unwritten_is_nan
from kernels.triton.linear import linear
from kernels.triton.logprobs import projected_logprobs, token_logprobs
from kernels.triton.rms_norm import rms_norm, rms_norm_reference
from kernels.triton.tiles import Tiles

BOUNDS = {torch.bfloat16: 2.0**-6, torch.float32: 2.0**-16}
"""A few roundings to 8 bits; for fp32, some hundred of its own, so that TF32, which leaves 2^-11, is caught."""
Op = Callable[..., torch.Tensor]


def parts(sizes: Sizes, certified: Iterable[Certified]) -> Iterator[Part]:
    """A part for each op and dtype."""
    known = tuple(certified)
    for dtype in sizes.dtypes:
        for model in sizes.models:
            yield _part(f"attention {model.head_dim}", dtype, partial(_attention, model, dtype, sizes))
        down = tiles_for(sizes.large.weights["down"], dtype, known)
        yield _part("linear down", dtype, partial(_linear, down, dtype, sizes))
        yield _part("RMSNorm", dtype, partial(_norm, dtype, sizes))
        yield _part("log-probabilities", dtype, partial(_token_logprobs, dtype, sizes))
        small = sizes.models[-1]
        logits = tiles_for(small.weights["logits"], dtype, known)
        yield _part(
            "log-probabilities with projection", dtype, partial(_projected_logprobs, small, logits, dtype, sizes)
        )


def _part(name: str, dtype: torch.dtype, measure: Callable[[], Iterator[tuple[str, float]]]) -> Part:
    def measured() -> Iterator[Error]:
        with unwritten_is_nan():
            for of, relative in measure():
                yield Error(name, DTYPE_NAMES[dtype], of, relative, BOUNDS[dtype])

    return Part(f"errors of {name} {DTYPE_NAMES[dtype]}", measured)


def relative_error(mine: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of the float64 result."""
    return float((mine.detach().double() - expected.detach()).norm() / expected.detach().norm())


def _both_passes(op: Op, reference: Op, tensors: dict[str, torch.Tensor]) -> Iterator[tuple[str, float]]:
    """Errors of op(*tensors) and of each tensor's gradient, for one random gradient of the output."""
    mine = [tensor.clone().requires_grad_() for tensor in tensors.values()]
    exact = [tensor.double().requires_grad_() for tensor in tensors.values()]
    out, expected = op(*mine), reference(*exact)
    yield "forward", relative_error(out, expected)
    grad_out = Draws(1).normal(*out.shape, dtype=out.dtype)
    grads = torch.autograd.grad(out, mine, grad_out)
    exact_grads = torch.autograd.grad(expected, exact, grad_out.double())
    for name, grad, exact_grad in zip(tensors, grads, exact_grads, strict=True):
        yield f"gradient of {name}", relative_error(grad, exact_grad)


def _linear(tiles: Tiles, dtype: torch.dtype, sizes: Sizes) -> Iterator[tuple[str, float]]:
    draws, (num_columns, depth) = Draws(), sizes.large.weights["down"]
    tensors = {
        "x": draws.normal(sizes.num_error_rows, depth, dtype=dtype),
        "weight": draws.normal(num_columns, depth, dtype=dtype, scale=depth**-0.5),
        "bias": draws.normal(num_columns, dtype=dtype),
    }
    yield from _both_passes(lambda x, weight, bias: linear(x, weight, bias, tiles), linear_reference, tensors)


def _norm(dtype: torch.dtype, sizes: Sizes) -> Iterator[tuple[str, float]]:
    draws, size = Draws(), sizes.large.hidden
    tensors = {
        "x": draws.normal(sizes.num_error_rows, size, dtype=dtype),
        "weight": draws.normal(size, dtype=dtype),
    }
    yield from _both_passes(
        lambda x, weight: rms_norm(x, weight, EPS), lambda x, weight: rms_norm_reference(x, weight, EPS), tensors
    )


def _token_logprobs(dtype: torch.dtype, sizes: Sizes) -> Iterator[tuple[str, float]]:
    draws, (count, vocabulary) = Draws(), (sizes.num_error_rows, sizes.large.vocabulary)
    tokens = draws.below(vocabulary, count)

    def reference(logits: torch.Tensor) -> torch.Tensor:
        return (logits / TEMPERATURE).log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    yield from _both_passes(
        lambda logits: token_logprobs(logits, tokens, TEMPERATURE).logprobs,
        reference,
        {"logits": draws.normal(count, vocabulary, dtype=dtype, scale=2.0)},
    )


def _projected_logprobs(model: Model, tiles: Tiles, dtype: torch.dtype, sizes: Sizes) -> Iterator[tuple[str, float]]:
    draws, (vocabulary, depth) = Draws(), model.weights["logits"]
    tokens = draws.below(vocabulary, sizes.num_error_rows)
    yield from _both_passes(
        lambda hidden, weight: projected_logprobs(hidden, weight, tiles, tokens, TEMPERATURE).logprobs,
        lambda hidden, weight: logprobs_reference(hidden, weight, tokens, TEMPERATURE),
        {
            "hidden": draws.normal(sizes.num_error_rows, depth, dtype=dtype),
            "weight": draws.normal(vocabulary, depth, dtype=dtype, scale=2 * depth**-0.5),
        },
    )


def _attention(model: Model, dtype: torch.dtype, sizes: Sizes) -> Iterator[tuple[str, float]]:
    """A few rows of the long sequence, then all rows of the short one with their gradients."""
    scores, length = Scores(model.head_dim**-0.5), sizes.num_keys
    query, key, value = draw(model, length, dtype)
    rows = decoded_positions(length, sizes.num_error_rows)
    out = attention(query, key, value, PackedLayout((Rows(0, length),)), scores)
    expected = attention_rows(query[rows].double(), key.double(), value.double(), rows, scores.scale)
    yield f"{len(rows)} rows of {length}", relative_error(out[rows], expected)
    short = sizes.num_gradient_keys
    layout = PackedLayout((Rows(0, short),))
    yield from _both_passes(
        lambda q, k, v: attention(q, k, v, layout, scores),
        lambda q, k, v: attention_rows(q, k, v, range(short), scores.scale),
        dict(zip(("query", "key", "value"), draw(model, short, dtype), strict=True)),
    )


def attention_rows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, positions: Sequence[int], scale: float
) -> torch.Tensor:
    """Causal attention of the queries at `positions` over all keys before them, as plain torch in the inputs' dtype.

    query: (positions, heads, head_dim); key, value: (keys, kv_heads, head_dim); returns like query.
    """
    repeats = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(repeats, dim=1) for t in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    at = torch.tensor(list(positions), device=query.device)
    hidden = torch.arange(len(key), device=query.device) > at[:, None]
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, float("-inf")).softmax(-1), value)
