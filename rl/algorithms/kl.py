"""Estimates of KL(policy ‖ reference) from sampled tokens (Schulman, "Approximating KL divergence", 2020).

As a loss they differ by their mean gradient at a token that the policy being trained drew: k2's is the gradient of
KL(policy ‖ reference), k3's that of KL(reference ‖ policy), and k1's is zero.
"""

from collections.abc import Callable

import torch


def k1(log_ratio: torch.Tensor) -> torch.Tensor:
    """log(policy / reference): unbiased, of either sign."""
    return -log_ratio


def k2(log_ratio: torch.Tensor) -> torch.Tensor:
    """Half the squared log-ratio: biased, never negative."""
    return log_ratio.square() / 2


def k3(log_ratio: torch.Tensor) -> torch.Tensor:
    """reference / policy - 1 - log(reference / policy): unbiased, never negative."""
    # exp(x) - 1 - x would lose all its digits near the reference.
    return torch.expm1(log_ratio) - log_ratio


ESTIMATORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
"""By name, each from log(reference / policy) of the sampled tokens, (T,) to (T,)."""
