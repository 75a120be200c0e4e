"""The canonical sampler: from logits and one uniform draw a row to a token and its log-probability.

Inverse transform over the vocabulary. Each row's token is a function of that row's logits and its draw alone.
"""

import torch

from kernels.logprobs import log_probabilities

SEGMENT = 256


def sample_tokens(
    logits: torch.Tensor, temperatures: torch.Tensor, draws: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token and its log-probability for each row.

    logits: (n, vocabulary); temperatures: (n,) fp32, 0 means the most likely token (its log-probability is then at
    temperature 1); draws: (n,) float64 in [0, 1). Returns ((n,) int64, (n,) fp32).
    """
    greedy = temperatures == 0
    divisors = torch.where(greedy, 1.0, temperatures)
    logprobs = log_probabilities(logits, 1.0 if bool((divisors == 1).all()) else divisors[:, None])
    tokens = _inverse_transform(logprobs, draws)
    if bool(greedy.any()):
        tokens = torch.where(greedy, logprobs.argmax(-1), tokens)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


def score_tokens(
    logits: torch.Tensor, tokens: torch.Tensor, temperatures: torch.Tensor, num_top: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each row's token at a temperature of its own, and the row's confidence.

    The confidence is minus the mean log-probability of the row's `num_top` likeliest tokens (Fu et al., "Deep Think
    with Confidence", arXiv 2508.15260, equation 2); 0 where `num_top` is 0. logits: (n, vocabulary); tokens and
    num_top: (n,) int64; temperatures: (n,) fp32 above 0. Returns ((n,) fp32, (n,) fp32).
    """
    logprobs = log_probabilities(logits, 1.0 if bool((temperatures == 1).all()) else temperatures[:, None])
    scores = logprobs.gather(1, tokens[:, None])[:, 0]
    most = int(num_top.max())
    if most == 0:
        return scores, torch.zeros_like(scores)
    # A scan, one element after the other: the sum has the same bits in every batch.
    sums = logprobs.topk(min(most, logprobs.shape[1])).values.double().cumsum(-1)
    counts = num_top.clamp(1, sums.shape[1])
    means = sums.gather(1, counts[:, None] - 1)[:, 0] / counts
    return scores, torch.where(num_top > 0, -means, 0.0).float()


def _inverse_transform(logprobs: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The first token whose cumulative probability exceeds the draw; (n,) int64.

    Two levels, so that the sum over the vocabulary is a short float64 scan over segments and then one over a segment.
    Where rounding lets the levels disagree, the last token with any mass is taken.
    """
    num_rows, vocabulary = logprobs.shape
    probs = torch.nn.functional.pad(logprobs.exp(), (0, -vocabulary % SEGMENT)).view(num_rows, -1, SEGMENT)
    scan = probs.sum(-1, dtype=torch.float64).cumsum(-1)
    targets = draws * scan[:, -1]
    # A draw of almost 1 can round up to the total; the last segment with any mass then takes it.
    last = (scan < scan[:, -1:]).sum(-1)
    segment = torch.minimum(torch.searchsorted(scan, targets[:, None], right=True)[:, 0], last)
    rows = torch.arange(num_rows)
    before = torch.where(segment > 0, scan[rows, (segment - 1).clamp(min=0)], 0.0)
    inside = probs[rows, segment].double().cumsum(-1)
    found = torch.searchsorted(inside, (targets - before)[:, None], right=True)[:, 0]
    last_inside = (inside < inside[:, -1:]).sum(-1)
    return segment * SEGMENT + torch.minimum(found, last_inside)
