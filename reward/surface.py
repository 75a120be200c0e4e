"""Rewards for what a completion looks like, not for what it says."""

from collections.abc import Sequence
from typing import Any


def digit_share(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    """The share of each completion's characters that are digits, 0 for an empty one.

    Even a random model earns some of it, so a run of one has a gradient: for smoke tests, beside a real reward.
    """
    return [sum(c.isdigit() for c in completion) / max(1, len(completion)) for completion in completions]
