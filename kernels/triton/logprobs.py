"""Log-probabilities of tokens on CUDA, from logits in the model's dtype: fp32 logits are never stored.

On the sampler's side they come from the engine's logits, on the trainer's from the output projection, in row chunks, so
that memory does not grow with vocabulary x tokens. Both go through `kernels.triton.softmax`.
"""

from collections.abc import Iterator

import torch

from kernels.logprobs import IDENTITY, LogitTransform, TokenLogprobs
from kernels.triton.linear import DTYPES, product
from kernels.triton.softmax import Rows, normalised, per_row
from kernels.triton.tiles import Tiles

CHUNK_ROWS = 1024


def log_probabilities(
    logits: torch.Tensor, temperature: float | torch.Tensor, transform: LogitTransform = IDENTITY
) -> torch.Tensor:
    """log softmax(transform(logits) / temperature) in fp32, each row on its own.

    logits: (rows, vocabulary) bf16 or fp32, each row contiguous; temperature: a positive number, or (rows, 1) fp32.
    Returns (rows, vocabulary) fp32, whose entries are bit for bit those of `token_logprobs`.
    """
    return normalised(_checked(logits), temperature, transform)[0].log_probabilities()


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, tokens, temperature, transform):  # type: ignore[no-untyped-def]
        rows, logprobs, entropies = normalised(logits, temperature, transform, tokens)
        ctx.save_for_backward(logits, tokens, rows.temperatures, rows.maxima, rows.log_sums)
        ctx.transform = transform
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx, grad_logprobs, _):  # type: ignore[no-untyped-def]
        logits, tokens, temperatures, maxima, log_sums = ctx.saved_tensors
        rows = Rows(logits, temperatures, ctx.transform, maxima, log_sums)
        out = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        return rows.gradient(tokens, grad_logprobs, out), None, None, None


def token_logprobs(
    logits: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float | torch.Tensor,
    transform: LogitTransform = IDENTITY,
) -> TokenLogprobs:
    """Log-probability of each row's token under softmax(transform(logits) / temperature), and the entropy.

    logits: (rows, vocabulary) bf16 or fp32, each row contiguous; tokens: (rows,) int64 below the vocabulary's size;
    temperature: a positive number, or (rows, 1) fp32. The gradient of the logits has their dtype.
    """
    return TokenLogprobs(*_TokenLogprobs.apply(_checked(logits), tokens.contiguous(), temperature, transform))


class _ProjectedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, tiles, tokens, temperature, transform):  # type: ignore[no-untyped-def]
        logprobs, entropies, maxima, log_sums = torch.empty(4, len(tokens), dtype=torch.float32, device=hidden.device)
        for chunk in _chunks(len(tokens)):
            logits = product(hidden[chunk], weight, None, tiles)
            rows, logprobs[chunk], entropies[chunk] = normalised(logits, temperature, transform, tokens[chunk])
            maxima[chunk], log_sums[chunk] = rows.maxima, rows.log_sums
        ctx.save_for_backward(hidden, weight, tokens, maxima, log_sums)
        ctx.tiles, ctx.temperature, ctx.transform = tiles, temperature, transform
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx, grad_logprobs, _):  # type: ignore[no-untyped-def]
        hidden, weight, tokens, maxima, log_sums = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        for chunk in _chunks(len(tokens)):
            logits = product(hidden[chunk], weight, None, ctx.tiles)
            temperatures = per_row(logits, ctx.temperature)
            rows = Rows(logits, temperatures, ctx.transform, maxima[chunk], log_sums[chunk])
            grad_logits = rows.gradient(tokens[chunk], grad_logprobs[chunk], logits)
            grad_hidden[chunk] = grad_logits @ weight
            if grad_weight is not None:
                grad_weight += grad_logits.t() @ hidden[chunk]
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None, None


def projected_logprobs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    tiles: Tiles,
    tokens: torch.Tensor,
    temperature: float,
    transform: LogitTransform = IDENTITY,
) -> TokenLogprobs:
    """Log-probability of each token under softmax(transform(hidden @ weight.T) / temperature), with the canonical bits.

    hidden: (T, K); weight: (vocabulary, K), both bf16 or both fp32; tokens: (T,) int64 below the vocabulary's size. At
    most `CHUNK_ROWS x vocabulary` logits exist at once, in the model's dtype; the backward pass forms them again and
    writes their gradient over them.
    """
    return TokenLogprobs(*_ProjectedLogprobs.apply(hidden, weight, tiles, tokens.contiguous(), temperature, transform))


def _checked(logits: torch.Tensor) -> torch.Tensor:
    if logits.ndim != 2 or logits.dtype not in DTYPES or logits.stride(1) != 1:
        raise ValueError(
            "logits must be (rows, vocabulary) in bfloat16 or float32 with contiguous rows, got "
            f"{tuple(logits.shape)} {logits.dtype} with strides {logits.stride()}"
        )
    return logits


def _chunks(num_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK_ROWS, num_rows)) for start in range(0, num_rows, CHUNK_ROWS))
