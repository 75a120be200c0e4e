"""What sampling as much as a question needs saves over a fixed budget, and what it costs in accuracy."""

from dataclasses import dataclass

from rl.compare.comparison import Contrast, TaskComparison
from rl.compare.measures import ArmFigures
from rl.compare.verdict import render_difference

FIXED = {"adaptive_best_of_n": "prm_best_of_n", "adaptive_beam": "prm_beam"}
"""The method with a fixed budget, by the one that adapts it."""


@dataclass(frozen=True)
class Saving:
    """An adaptive arm against a fixed one of the same model."""

    contrast: Contrast

    @property
    def token_share(self) -> float:
        """Tokens sampled for an answer, over those of the fixed arm."""
        return self.contrast.first.tokens_per_answer / self.contrast.second.tokens_per_answer

    @property
    def sentence(self) -> str:
        """In plain words."""
        told = "can" if self.contrast.difference.is_told_from_nothing else "cannot"
        return (
            f"{self.contrast.first.arm.name} samples {100 * self.token_share:.0f} % of the tokens of "
            f"{self.contrast.second.arm.name}, at a difference in accuracy of "
            f"{render_difference(self.contrast.difference)}, which {told} be told from nothing"
        )


def savings(task: TaskComparison) -> list[Saving]:
    """Every adaptive arm against every fixed one of its kind, of the same weights and under the same reward model."""
    pairs = [
        (adaptive, fixed)
        for adaptive in task.figures
        for fixed in task.figures
        if FIXED.get(adaptive.arm.method) == fixed.arm.method and _judged_alike(adaptive, fixed)
    ]
    return [Saving(contrast) for contrast in task.contrasts(pairs)]


def _judged_alike(first: ArmFigures, second: ArmFigures) -> bool:
    return first.samples.policy == second.samples.policy and first.arm.prm == second.arm.prm
