"""Whether a process reward model still says what comes of it, now that the policy has moved.

At every question the chance that the model said, before anything was drawn, is held against the share of the group's
rollouts that came out right. The binomial noise of a share of n, s (1 - s) / (n - 1) on average, is taken out of its
squared distance; what is left estimates (said - p)^2 without bias, whatever n is, and is held against the same figure
of the model's calibration report.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPORT = "calibration.json"
"""Beside a process reward model's weights."""
MIN_QUESTIONS = 32
"""Fewer say nothing."""
NUM_ERRORS = 3.0
"""Standard errors by which the figure must be above that of the report; it is looked at after every step, and two would
be passed by chance before long."""


@dataclass(frozen=True)
class Told:
    """One question."""

    said: float
    """The chance that the model said, after any recalibration."""
    num_right: int
    num_rollouts: int
    """2 or more."""

    @property
    def share(self) -> float:
        """Of rollouts that came out right."""
        return self.num_right / self.num_rollouts

    @property
    def error(self) -> float:
        """An unbiased estimate of (said - p)^2; it may be negative."""
        return (self.said - self.share) ** 2 - self.share * (1 - self.share) / (self.num_rollouts - 1)


@dataclass(frozen=True)
class Reference:
    """What a calibration report says of the model on the policy that it was calibrated for."""

    error: float
    """The mean of `Told.error`."""
    standard_error: float
    num_questions: int


@dataclass(frozen=True)
class Drift:
    """Where the model stands by the questions of late."""

    error: float
    standard_error: float
    mean_said: float
    mean_share: float
    num_questions: int
    reference: Reference | None

    @property
    def is_told(self) -> bool:
        """Whether it is further off than in its report, by more than chance would have it."""
        if self.reference is None or self.num_questions < MIN_QUESTIONS:
            return False
        spread = math.hypot(self.standard_error, self.reference.standard_error)
        return self.error - NUM_ERRORS * spread > max(0.0, self.reference.error)

    def sentence(self) -> str:
        """What to say of it."""
        assert self.reference is not None
        return (
            f"the process reward model has drifted from the policy: over the last {self.num_questions} questions its "
            f"chance at the question is off by a Brier score of {self.error:.3f} ± {self.standard_error:.3f}, against "
            f"{self.reference.error:.3f} ± {self.reference.standard_error:.3f} in its calibration report "
            f"({self.reference.num_questions} questions, binomial noise taken out of both); it says "
            f"{self.mean_said:.2f} on average, and {self.mean_share:.2f} come out right"
        )


def drift(told: Sequence[Told], reference: Reference | None) -> Drift | None:
    """By these questions; None where there are fewer than two."""
    if len(told) < 2:
        return None
    errors = [one.error for one in told]
    return Drift(
        error=statistics.fmean(errors),
        standard_error=statistics.stdev(errors) / math.sqrt(len(errors)),
        mean_said=statistics.fmean(one.said for one in told),
        mean_share=statistics.fmean(one.share for one in told),
        num_questions=len(told),
        reference=reference,
    )


def read_reference(prm: Path) -> Reference | None:
    """What the calibration report beside a process reward model says; None where there is none.

    Raises ValueError for a file that is none.
    """
    path = prm / REPORT
    if not path.is_file():
        return None
    try:
        figures = json.loads(path.read_text("utf-8"))
        error = float(figures["first_step_brier"]) - float(figures["first_step_noise"])
        return Reference(error, float(figures["first_step_standard_error"]), int(figures["num_questions"]))
    except (ValueError, KeyError, TypeError) as failure:
        raise ValueError(
            f"{path} is no calibration report ({type(failure).__name__}: {failure}); make it again with "
            "`zerokl train-prm`, or remove it to do without a warning of drift"
        ) from failure
