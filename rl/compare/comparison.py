"""All arms on all tasks, and how they differ: a pure function of what the arms left."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rl.compare.measures import ArmFigures
from rl.compare.paired import Difference, paired_differences


@dataclass(frozen=True)
class Contrast:
    """Two arms on the same questions."""

    first: ArmFigures
    second: ArmFigures
    difference: Difference
    """Accuracy of the first less that of the second."""


@dataclass(frozen=True)
class TaskComparison:
    """All arms on one task."""

    name: str
    in_domain: bool
    figures: tuple[ArmFigures, ...]
    """In the config's order."""
    base: str
    """Name of the arm that the others are measured against."""

    @property
    def num_questions(self) -> int:
        """Asked of every arm."""
        return len(self.figures[0].samples.questions)

    @property
    def trained(self) -> list[ArmFigures]:
        """Arms with another model than the base: RL."""
        return [figures for figures in self.figures if figures.arm.is_trained]

    @property
    def sampling_only(self) -> list[ArmFigures]:
        """Arms that sample the base model, the base arm among them."""
        return [figures for figures in self.figures if not figures.arm.is_trained]

    @property
    def base_figures(self) -> ArmFigures:
        """Those of the base arm."""
        return next(figures for figures in self.figures if figures.arm.name == self.base)

    @cached_property
    def against_base(self) -> list[Contrast]:
        """Every arm but the base itself, less the base."""
        return self.contrasts([(f, self.base_figures) for f in self.figures if f is not self.base_figures])

    @cached_property
    def trained_against_sampling(self) -> list[Contrast]:
        """Every trained arm less every sampling-only one."""
        return self.contrasts([(first, second) for first in self.trained for second in self.sampling_only])

    def contrasts(self, pairs: Sequence[tuple[ArmFigures, ArmFigures]]) -> list[Contrast]:
        """The differences of some pairs of arms of this task."""
        differences = paired_differences([(first.correct, second.correct) for first, second in pairs])
        return [Contrast(*pair, difference) for pair, difference in zip(pairs, differences, strict=True)]


@dataclass(frozen=True)
class Comparison:
    """What a report is written of."""

    name: str
    """Of the run's folder."""
    base_model: str
    """What `model.path` was."""
    tasks: tuple[TaskComparison, ...]

    @property
    def policies(self) -> dict[str, list[str]]:
        """Names of the arms by the digest of the weights that sampled for them."""
        names: dict[str, list[str]] = {}
        for figures in self.tasks[0].figures:
            names.setdefault(figures.samples.policy, []).append(figures.arm.name)
        return names
