"""What a head learns by: the paper's pinball loss, and two likelihoods of how many rollouts came out right.

The share of right rollouts is the success probability plus binomial noise. Quantiles fitted to shares are those of the
sum, too wide by far at 8 rollouts. The marginal likelihood takes the noise out: it asks how likely the count is under a
distribution of the probability, integrated over it, so what is fitted is the distribution of the probability itself.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

Tensor = torch.Tensor


def pinball(quantiles: Tensor, shares: Tensor, levels: Sequence[float]) -> Tensor:
    """(R,) mean over levels of max(beta * u, (beta - 1) * u), u = share - quantile.

    quantiles: (R, levels); shares: (R,) of right rollouts. Park et al. (arXiv 2506.09338), equation 5; Koenker and
    Bassett 1978.
    """
    beta = torch.tensor(levels, dtype=quantiles.dtype)
    excess = shares[:, None] - quantiles
    return torch.maximum(beta * excess, (beta - 1) * excess).mean(-1)


def count_likelihood(log_masses: Tensor, points: Tensor, successes: Tensor, trials: Tensor) -> Tensor:
    """(R,) minus the log of the sum over points of mass * p^k * (1 - p)^(n - k), in nats.

    log_masses: (R, G), each row a distribution over `points`, (G,) probabilities; successes k and trials n: (R,). The
    binomial coefficient is left out: it is the same for every distribution.
    """
    k, n = successes[:, None].to(log_masses.dtype), trials[:, None].to(log_masses.dtype)
    # 0 * log 0 is 0 here: a count is possible at probability 0 or 1 only if it is none or all.
    possible = _times_log(k, points) + _times_log(n - k, 1 - points)
    return -torch.logsumexp(log_masses + possible, -1)


def any_success(logits: Tensor, successes: Tensor) -> Tensor:
    """(R,) cross-entropy with whether any rollout came out right: Math-Shepherd's hard estimation.

    logits, successes: (R,). Wang et al. (arXiv 2312.08935), equation 3.
    """
    return functional.binary_cross_entropy_with_logits(logits, (successes > 0).to(logits.dtype), reduction="none")


def _times_log(count: Tensor, probability: Tensor) -> Tensor:
    log = probability.clamp_min(torch.finfo(torch.float32).tiny).log()
    impossible = (probability == 0) & (count > 0)
    return (count * log).masked_fill(impossible, -torch.inf)
