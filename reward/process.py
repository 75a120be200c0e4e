"""Process rewards: what a process reward model says of each step, as advantages of the tokens in it.

Of a rollout with S steps, v_0 is the chance to come out right at the question, v_t behind step t. Step t earns

    min         min(v_t, …, v_S), less the mean over the group's other rollouts of min(v_1, …, v_S)
                (PURE, Cheng et al., arXiv 2504.15275: the value of a step is the least of what is to come, not the sum)
    progress    v_t - v_(t-1)
                (PAV, Setlur et al., arXiv 2410.08146: how much the step changed the chance)

and so does every token of it. Both are bounded by 1, whatever the number of steps. They are added to the advantage that
the verifiable reward gives the rollout, times a weight; there is none without a verifiable reward.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reward.log_odds import LogOddsMap
from rollout.search.stepwise import MEDIAN, StepScores, quantile

VERIFIERS = ("reasoning_gym", "reasoning_gym_partial", "math_accuracy")
"""Reward functions of ours that give 1 to a right answer and less to any other."""


@dataclass
class ProcessConfig:
    """`reward.process:` in the config of a training run."""

    prm: str = ""
    """A process reward model, as `prm` in `zerokl sample`; empty has none."""
    form: str = "min"
    """`min` or `progress`."""
    weight: float = 1.0
    """What step advantages are multiplied by before they are added."""
    level: float = MEDIAN
    """Of the quantile that is the reward: 0.5 the median; a lower one trusts less where the model is unsure."""
    verifier: str = ""
    """Which of `reward.functions` says whether a rollout is right, with 1; empty takes the first of `VERIFIERS`. It
    does so without a `prm` as well."""
    recalibrate_every: int = 0
    """Steps between two fits of a monotone map from the model's chances to what came of them; 0 fits none."""


def verifiers_of(process: ProcessConfig, weights: Mapping[str, float]) -> tuple[str, ...]:
    """Those of `reward.functions` that say whether a rollout is right; the first that applies to it does.

    weights: of `reward.functions`, by name.
    """
    ours = [name for name, weight in weights.items() if name in VERIFIERS and weight > 0]
    return tuple(dict.fromkeys([process.verifier, *ours] if process.verifier in weights else ours))


def verifier_of(process: ProcessConfig, weights: Mapping[str, float]) -> str:
    """The verifiable reward that process rewards stand beside. weights: of `reward.functions`, by name.

    Raises ValueError where there is none: a policy that is only scored learns to please the scorer.
    """
    if process.verifier and process.verifier not in weights:
        raise ValueError(
            f"reward.process.verifier must be one of reward.functions, {', '.join(weights)}, got {process.verifier!r}"
        )
    verifier = next(iter(verifiers_of(process, weights)), "")
    if not verifier or weights[verifier] <= 0:
        raise ValueError(
            "process rewards stand beside a verifiable reward with a weight above 0, and reward.functions has none; "
            f"add {' or '.join(VERIFIERS)}, or name one of your own that gives 1 to what is right in "
            "reward.process.verifier"
        )
    return verifier


Values = Sequence[float]
"""(S + 1,) v_0 … v_S of a rollout."""


def min_form(group: Sequence[Values]) -> list[tuple[float, ...]]:
    """(S,) a rollout, of at least one step each: what the steps earn in min form. Alone, nothing is taken off."""
    least = [_least_to_come(values[1:]) for values in group]
    wholes = [rollout[0] for rollout in least]
    total = math.fsum(wholes)
    others = max(1, len(group) - 1)
    return [
        tuple(value - (total - whole) / others for value in rollout)
        for rollout, whole in zip(least, wholes, strict=True)
    ]


def progress(group: Sequence[Values]) -> list[tuple[float, ...]]:
    """(S,) a rollout: what the steps earn as progress."""
    return [tuple(after - before for before, after in itertools.pairwise(values)) for values in group]


FORMS: dict[str, Callable[[Sequence[Values]], list[tuple[float, ...]]]] = {"min": min_form, "progress": progress}
"""From the values of a group's rollouts to what their steps earn, by name."""


def step_values(scores: StepScores, levels: Sequence[float], level: float, recalibrated: LogOddsMap) -> Values:
    """(S + 1,) the quantile at `level` of every place, after the map."""
    return tuple(recalibrated(quantile(row, levels, level)) for row in scores.quantiles)


def over_tokens(ends: Sequence[int], earned: Sequence[float]) -> tuple[float, ...]:
    """A float for each token: what its step earned. ends: (S + 1,), from 0 to the number of tokens."""
    pairs = zip(itertools.pairwise(ends), earned, strict=True)
    return tuple(value for (start, end), value in pairs for _ in range(end - start))


def _least_to_come(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(itertools.accumulate(reversed(values), min))[::-1]
