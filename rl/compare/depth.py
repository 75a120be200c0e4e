"""Accuracy over depth, where arms run the core of a recurrent-depth model more or less often."""

from typing import Any

from rl.compare.comparison import Comparison, TaskComparison
from rl.compare.labels import draw_labels
from rl.compare.marks import accuracy_room, draw_point
from rl.compare.measures import ArmFigures
from rl.compare.palette import GRID, look


def has_depths(comparison: Comparison) -> bool:
    """Whether arms of it run their core more or less often."""
    return len({figures.samples.recurrence for task in comparison.tasks for figures in task.figures} - {None}) > 1


def draw_depth(axis: Any, task: TaskComparison, height_points: float) -> None:
    """Accuracy over how often the core is run, with lines through arms that differ in nothing else that is known."""
    for line in _same_but_depth(task):
        values = [100 * figures.accuracy.value for _, figures in line]
        axis.plot([depth for depth, _ in line], values, color=look(task, line[0][1]).colour, linewidth=1)
    drawn = [(figures.samples.recurrence, figures) for figures in task.figures]
    labels = [draw_point(axis, task, figures, depth) for depth, figures in drawn if depth]
    depths = sorted({depth for depth, _ in drawn if depth})
    axis.set_xscale("log", base=2)
    axis.set_xticks(depths, [f"{depth:g}" for depth in depths])
    axis.minorticks_off()
    axis.set_ylim(*accuracy_room(task))
    axis.set(xlabel="runs of the core", ylabel="accuracy, %")
    axis.grid(axis="y", color=GRID, linewidth=0.6)
    draw_labels(axis, labels, height_points)


def _same_but_depth(task: TaskComparison) -> list[list[tuple[float, ArmFigures]]]:
    """By depth, arms of the same weights, method and number of samples; no group of which two are equally deep."""
    groups: dict[Any, list[tuple[float, ArmFigures]]] = {}
    for figures in task.figures:
        key = (figures.samples.policy, figures.arm.method, figures.num_candidates, figures.num_answers)
        if depth := figures.samples.recurrence:
            groups.setdefault(key, []).append((depth, figures))
    lines = [sorted(group, key=lambda one: one[0]) for group in groups.values()]
    return [line for line in lines if len({depth for depth, _ in line}) == len(line)]
