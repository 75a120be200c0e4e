"""An arm as a mark over an axis of accuracy."""

from typing import Any

from rl.compare.comparison import TaskComparison
from rl.compare.labels import Label
from rl.compare.measures import ArmFigures
from rl.compare.palette import look


def draw_point(axis: Any, task: TaskComparison, figures: ArmFigures, x: float) -> Label:
    """The label of the arm's accuracy, which is drawn at `x` with its interval."""
    style, accuracy = look(task, figures), figures.accuracy
    axis.plot([x] * 2, [100 * accuracy.low, 100 * accuracy.high], color=style.colour, linewidth=1, alpha=0.45)
    y = 100 * accuracy.value
    axis.plot([x], [y], color=style.colour, marker=style.marker, markersize=5, linestyle="none")
    return Label(f"{figures.arm.name} · {y:.0f} %", x, y, style.colour)


def accuracy_room(task: TaskComparison) -> tuple[float, float]:
    """Limits of an accuracy axis that holds every interval, in percent."""
    low = min(figures.accuracy.low for figures in task.figures)
    high = max(figures.accuracy.high for figures in task.figures)
    return max(-2.0, 100 * low - 3), min(102.0, 100 * high + 3)
