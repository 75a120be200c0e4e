"""Log-probabilities of tokens: the one function through which both sides see logits.

Row by row, in fp32, temperature applied before the normalisation. On the trainer's side it is fused with the output
projection and works in row chunks, so that memory does not grow with vocabulary x tokens.
"""

from dataclasses import dataclass

import torch

from kernels.linear import PackedWeight

CHUNK_ROWS = 256


def log_probabilities(logits: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor:
    """log softmax(logits / temperature) in fp32, each row on its own.

    logits: (rows, vocabulary) of any float dtype; temperature: a positive number, or (rows, 1) fp32. Returns
    (rows, vocabulary) fp32.
    """
    is_one = isinstance(temperature, float | int) and temperature == 1  # x / 1 is x, at the price of a pass over V
    scaled = logits.float() if is_one else logits.float() / temperature
    return torch.log_softmax(scaled, dim=-1)


@dataclass(frozen=True)
class LogitTransform:
    """What a family does to its logits behind the output projection, in the model's dtype."""

    multiplier: float = 1.0
    divisor: float = 1.0
    soft_cap: float = 0.0
    """Logits become soft_cap · tanh(logit / soft_cap); 0 leaves them."""

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The transformed logits, same shape and dtype."""
        if self.multiplier != 1:
            logits = logits * self.multiplier
        if self.divisor != 1:
            logits = logits / self.divisor
        if self.soft_cap:
            logits = torch.tanh(logits / self.soft_cap) * self.soft_cap
        return logits

    def backward(self, grad: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The gradient before the transform, from that behind it; `logits` are the transformed ones."""
        if self.soft_cap:
            grad = grad * (1 - (logits.float() / self.soft_cap).square())  # d tanh = 1 - tanh²
        return grad * (self.multiplier / self.divisor)


IDENTITY = LogitTransform()


@dataclass(frozen=True)
class TokenLogprobs:
    """Per token, fp32."""

    logprobs: torch.Tensor
    """(T,) differentiable."""
    entropy: torch.Tensor
    """(T,) of the whole distribution, nats; not differentiable."""


class _ProjectedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, packed, tokens, temperature, transform):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(hidden, weight, tokens)
        ctx.packed, ctx.temperature, ctx.transform = packed, temperature, transform
        logprobs = torch.empty(tokens.shape[0], dtype=torch.float32)
        entropy = torch.empty_like(logprobs)
        for rows in _chunks(tokens.shape[0]):
            full = log_probabilities(transform(packed(hidden[rows])), temperature)
            logprobs[rows] = full.gather(1, tokens[rows, None])[:, 0]
            entropy[rows] = -full.exp().mul_(full).sum(-1)
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx, grad_logprobs, _):  # type: ignore[no-untyped-def]
        hidden, weight, tokens = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32)
        for rows in _chunks(tokens.shape[0]):
            # d logprob / d logit = (1[token] - p) / temperature
            logits = ctx.transform(ctx.packed(hidden[rows]))
            grad_logits = log_probabilities(logits, ctx.temperature).exp_().neg_()
            grad_logits.scatter_add_(1, tokens[rows, None], torch.ones_like(tokens[rows, None], dtype=torch.float32))
            grad_logits.mul_(grad_logprobs[rows, None] / ctx.temperature)
            grad_logits = ctx.transform.backward(grad_logits, logits).to(hidden.dtype)
            grad_hidden[rows] = grad_logits @ weight
            grad_weight += grad_logits.t() @ hidden[rows]
        return grad_hidden, grad_weight.to(weight.dtype), None, None, None, None


def projected_logprobs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    packed: PackedWeight,
    tokens: torch.Tensor,
    temperature: float,
    transform: LogitTransform = IDENTITY,
) -> TokenLogprobs:
    """Log-probability of each token under softmax(transform(hidden @ weight.T) / temperature), with the canonical bits.

    hidden: (T, K); weight: (vocabulary, K), as `packed` was made from; tokens: (T,) int64. At most
    `CHUNK_ROWS x vocabulary` logits exist at once; the backward pass forms them again.
    """
    return TokenLogprobs(*_ProjectedLogprobs.apply(hidden, weight, packed, tokens, temperature, transform))


def logprobs_reference(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float,
    transform: LogitTransform = IDENTITY,
) -> torch.Tensor:
    """The same log-probabilities in float64, as plain torch. Shapes as in `projected_logprobs`; returns (T,)."""
    logits = transform(hidden.double() @ weight.double().t()) / temperature
    return logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def _chunks(num_rows: int) -> list[slice]:
    return [slice(start, min(start + CHUNK_ROWS, num_rows)) for start in range(0, num_rows, CHUNK_ROWS)]
