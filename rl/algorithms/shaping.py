"""What may happen to a reward before it is normalised: rare right answers raised, overlong ones lowered."""

import math

from rl.types import RewardedGroup
from rollout.types import Rollout


def rewarding_the_unlikely(group: RewardedGroup, beta_rank: float, per_token: bool) -> list[float]:
    """Rewards of a group where a right answer keeps less of its own the likelier it was to be sampled.

    r (1 - beta_rank (G - rank) / G), rank 0 the most likely of the G rollouts (He et al., "Rewarding the Unlikely",
    arXiv 2506.02355). The rank is the number of rollouts that are strictly likelier, so equal rollouts have equal
    rewards. `per_token` ranks by log-probability per token, as the code released with the paper does; the paper ranks
    by that of the whole rollout.
    """
    likelihoods = [_likelihood(rollout, per_token) for rollout in group.group.rollouts]
    size = len(likelihoods)
    ranks = [sum(other > likelihood for other in likelihoods) for likelihood in likelihoods]
    return [
        reward.value * (1 - beta_rank * (size - rank) / size) if reward.is_correct else reward.value
        for reward, rank in zip(group.rewards, ranks, strict=True)
    ]


def overlong_penalty(num_tokens: int, max_new_tokens: int, share: float) -> float:
    """What is added to the reward of a rollout of `num_tokens` tokens, from 0 down to -1 at `max_new_tokens`.

    The soft overlong punishment of DAPO (arXiv 2503.14476, equation 13): linear over the last `share` of the tokens
    allowed, 0 before.
    """
    cache = share * max_new_tokens
    excess = num_tokens - (max_new_tokens - cache)
    return -min(excess / cache, 1.0) if excess > 0 else 0.0


def _likelihood(rollout: Rollout, per_token: bool) -> float:
    total = math.fsum(rollout.rollout_logprobs)
    return total / len(rollout.token_ids) if per_token else total
