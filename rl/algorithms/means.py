"""How losses of tokens become the loss of a batch.

Each mean divides by counts of the whole batch, whatever part of it is given: the shares of any cut add up to the same.
"""

import torch

from rl.types import BatchTotals, LossInputs


def rollout_sums(per_token: torch.Tensor, inputs: LossInputs) -> torch.Tensor:
    """(R,) the sum over each rollout's tokens, from (T,).

    Added up in token order, a rollout at a time: the same bits in whatever micro-batch it lies. `torch.sum` over many
    tokens would depend on the number of threads.
    """
    return torch.segment_reduce(per_token, "sum", lengths=inputs.lengths)


def rollout_mean(per_token: torch.Tensor, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
    """Mean over each rollout's tokens, then over rollouts: a rollout counts the same however long it is."""
    return (rollout_sums(per_token, inputs) / inputs.lengths).sum() / totals.num_rollouts


def token_mean(per_token: torch.Tensor, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
    """Mean over all tokens of the batch: every token counts the same."""
    return rollout_sums(per_token, inputs).sum() / totals.num_tokens


def fixed_length_mean(per_token: torch.Tensor, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
    """Sum over tokens divided by how many there would be, were every rollout as long as allowed."""
    return rollout_sums(per_token, inputs).sum() / (totals.num_rollouts * totals.max_new_tokens)


def mean_of_sums(per_token: torch.Tensor, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
    """Sum over each rollout's tokens, then the mean over rollouts."""
    return rollout_sums(per_token, inputs).sum() / totals.num_rollouts
