"""What a reward is, and what users plug in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Reward:
    """The reward of one rollout: the weighted sum and what went into it."""

    value: float
    components: Mapping[str, float]
    """Unweighted value by reward function name."""


class RewardFn(Protocol):
    """A reward function in TRL's convention: one float (or None: does not apply) per completion.

    Data set columns arrive as keyword arguments, each a list as long as `completions`.
    """

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Any
    ) -> Sequence[float | None]: ...
