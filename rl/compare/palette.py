"""Few colours, the same in every figure: the base arm, what only samples, and RL.

Blue and vermilion are Okabe and Ito's, which people with any kind of colour vision tell apart; a marker's shape says
the same once more, and a cross is an arm that chooses by the right answer. In the page each colour is a variable, so
that one drawing serves light and dark.
"""

from dataclasses import dataclass

from rl.compare.comparison import TaskComparison
from rl.compare.measures import ArmFigures

INK = "#1f2328"
MUTED = "#656d76"
GRID = "#d8dee4"
PAPER = "#fefefe"
BASE = "#444c56"
SAMPLING = "#0072b2"
TRAINED = "#d55e00"

CSS_NAMES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    BASE: "base",
    SAMPLING: "sampling",
    TRAINED: "rl",
}
"""What the page calls each colour."""


@dataclass(frozen=True)
class Look:
    """How an arm is drawn."""

    colour: str
    marker: str
    """Matplotlib's name for the shape."""


def look(task: TaskComparison, figures: ArmFigures) -> Look:
    """How one of the task's arms is drawn."""
    if figures.arm.sees_answers:
        return Look(TRAINED if figures.arm.is_trained else SAMPLING, "x")
    if figures.arm.is_trained:
        return Look(TRAINED, "D")
    return Look(BASE, "s") if figures.arm.name == task.base else Look(SAMPLING, "o")


def with_css_variables(svg: str) -> str:
    """A drawing whose colours are those of the page it stands in."""
    for colour, name in CSS_NAMES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
