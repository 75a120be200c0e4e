"""What a reward is, and what users plug in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

CORRECT = 1.0
"""What a right answer earns: this or more."""


@dataclass(frozen=True)
class Reward:
    """The reward of one rollout: the weighted sum and what went into it."""

    value: float
    components: Mapping[str, float]
    """Unweighted value by reward function name."""
    verifier: str = ""
    """The function among them that says whether the answer is right; empty where none does."""

    @property
    def is_correct(self) -> bool:
        """Whether the answer is right: what its verifier says, whatever the others add or take; else the whole."""
        return (self.components[self.verifier] if self.verifier else self.value) >= CORRECT


class RewardFn(Protocol):
    """A reward function in TRL's convention: one float (or None: does not apply) per completion.

    Data set columns arrive as keyword arguments, each a list as long as `completions`.
    """

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Any
    ) -> Sequence[float | None]: ...
