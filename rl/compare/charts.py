"""The figures of a comparison, each a panel for one task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl.compare.comparison import Comparison, Contrast, TaskComparison
from rl.compare.depth import draw_depth, has_depths
from rl.compare.labels import FONT_SIZE, Label, draw_labels
from rl.compare.marks import accuracy_room, draw_point
from rl.compare.measures import ArmFigures
from rl.compare.palette import GRID, INK, MUTED, PAPER, look
from rl.compare.verdict import best, points

_NUM_BINS = 40
_ROW_INCHES = 0.2
_FRAME_INCHES = 0.65
"""What the axis takes of a panel's height."""


@dataclass(frozen=True)
class Chart:
    """One kind of figure."""

    key: str
    """Name of its file, without ending."""
    title: str
    caption: str
    draw: Callable[[Any, TaskComparison, float], None]
    """Fills the matplotlib axes it is given, whose height in points comes last."""
    height: Callable[[TaskComparison], float]
    """Of a panel, in inches."""
    left: float = 0.11
    """Where the axes begin, in widths of the panel."""
    concerns: Callable[[Comparison], bool] = lambda comparison: True
    """Whether a comparison has something to show in it."""


def charts_of(comparison: Comparison) -> list["Chart"]:
    """Those of `CHARTS` that concern it."""
    return [chart for chart in CHARTS if chart.concerns(comparison)]


def draw_accuracy(axis: Any, task: TaskComparison, height_points: float) -> None:
    """Accuracy over the tokens sampled to answer every question once, scaled logarithmically."""
    labels = [_draw_arm(axis, task, figures) for figures in task.figures]
    axis.set_xscale("log")
    axis.set_ylim(*accuracy_room(task))
    axis.set_xlabel(f"tokens sampled to answer the {task.num_questions:,} questions once")
    axis.set_ylabel("accuracy, %")
    axis.grid(axis="y", color=GRID, linewidth=0.6)
    draw_labels(axis, labels, height_points)


def draw_operations(axis: Any, task: TaskComparison, height_points: float) -> None:
    """Accuracy over the operations that one answer takes, scaled logarithmically: depth and tokens on one axis."""
    drawn = [(figures, figures.flops_per_answer) for figures in task.figures]
    labels = [draw_point(axis, task, figures, flops) for figures, flops in drawn if flops]
    if not labels:
        return _say(axis, "no sampling says what a token of its model takes")
    axis.set_xscale("log")
    axis.set_ylim(*accuracy_room(task))
    axis.set(xlabel="FLOPs of the policy for one answer", ylabel="accuracy, %")
    axis.grid(axis="y", color=GRID, linewidth=0.6)
    draw_labels(axis, labels, height_points)


def draw_pass_at_k(axis: Any, task: TaskComparison, height_points: float) -> None:
    """pass@k over k, for arms that give several answers."""
    drawn = [figures for figures in task.figures if figures.num_answers > 1]
    if not drawn:
        return _say(axis, "no arm gives more than one answer to a question")
    labels = [_draw_curve(axis, task, figures) for figures in drawn]
    ks = sorted({k for figures in drawn for k in figures.pass_at_k})
    axis.set_xscale("log", base=2)
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.minorticks_off()
    axis.set(xlabel="k", ylabel="pass@k, %")
    axis.grid(axis="y", color=GRID, linewidth=0.6)
    draw_labels(axis, labels, height_points)


def draw_likelihoods(axis: Any, task: TaskComparison, height_points: float) -> None:
    """A histogram an arm of how likely its answers are under the base model, each scaled to its own peak."""
    drawn = [figures for figures in task.figures if figures.base_logprobs]
    if not drawn:
        return _say(axis, "no answer was scored under the base model")
    everything = np.concatenate([figures.base_logprobs for figures in drawn])
    low, high = float(np.quantile(everything, 0.005)), float(everything.max())
    edges = np.linspace(low, max(high, low + 1), _NUM_BINS + 1)
    for row, figures in enumerate(reversed(drawn)):
        _draw_histogram(axis, row, figures, edges, look(task, figures).colour)
    _name_rows(axis, task, list(reversed(drawn)))
    axis.set_ylim(-0.05, len(drawn))
    axis.set_xlabel("log-likelihood of the answer under the base model, nats")


def draw_differences(axis: Any, task: TaskComparison, height_points: float) -> None:
    """Paired differences of accuracy, with their intervals: filled where told from nothing, hollow where not."""
    rows = _rows(task)
    axis.axvline(0, color=MUTED, linewidth=0.8)
    for height, (label, contrast) in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
        _draw_row(axis, task, height, label, contrast)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("difference in accuracy, points")


def likelihood_height(task: TaskComparison) -> float:
    """A row for every arm."""
    return _FRAME_INCHES + 1.4 * _ROW_INCHES * len(task.figures)


def difference_height(task: TaskComparison) -> float:
    """A row for every difference and for each heading."""
    return _FRAME_INCHES + _ROW_INCHES * len(_rows(task))


CHARTS = (
    Chart(
        "accuracy",
        "Accuracy against all sampled tokens",
        "Every token drawn counts, rejected proposals, losing candidates and stopped traces included. Of n independent "
        "samples each is an answer and costs an n-th. The hollow diamond is the same RL arm with the tokens it was "
        "trained on. A cross chooses with the grader, which nobody has in earnest. Bars are 95 % intervals over "
        "questions.",
        draw_accuracy,
        lambda task: 3.5,
    ),
    Chart(
        "operations",
        "Accuracy against operations",
        "Tokens drawn for one answer times what a token takes: two operations for every weight that it meets, the core "
        "of a recurrent-depth model as often as it is run. Reading the question and attention to it are left out, and "
        "so are models that judge. Bars are 95 % intervals over questions.",
        draw_operations,
        lambda task: 3.5,
    ),
    Chart(
        "depth",
        "Accuracy against depth",
        "How often the core of a recurrent-depth model is run for a token. Lines join arms of the same weights, method "
        "and number of samples. Bars are 95 % intervals over questions.",
        draw_depth,
        lambda task: 3.5,
        concerns=has_depths,
    ),
    Chart(
        "pass_at_k",
        "pass@k",
        "The chance that one of k answers is right, by the unbiased estimator, for arms that give several. Where "
        "curves meet, more draws from the one find what the other finds at once.",
        draw_pass_at_k,
        lambda task: 3.0,
    ),
    Chart(
        "differences",
        "Paired differences",
        "Question by question on the same questions, 95 % intervals of 10,000 resamples of the questions. Filled: the "
        "interval leaves out zero.",
        draw_differences,
        difference_height,
        left=0.30,
    ),
    Chart(
        "likelihood",
        "What the base model thinks of each arm's answers",
        "Each histogram is scaled to its own peak; the tick is the median. A narrow peak at the right is a policy that "
        "says what the base model already finds likely.",
        draw_likelihoods,
        likelihood_height,
        left=0.30,
    ),
)


def _draw_arm(axis: Any, task: TaskComparison, figures: ArmFigures) -> Label:
    tokens, style, y = figures.tokens_to_answer_all, look(task, figures), 100 * figures.accuracy.value
    label = draw_point(axis, task, figures, tokens)
    if figures.arm.training_tokens:
        paid = tokens + figures.arm.training_tokens
        axis.plot([tokens, paid], [y, y], color=style.colour, linewidth=0.8, linestyle=":")
        axis.plot([paid], [y], color=style.colour, marker=style.marker, markersize=5, markerfacecolor=PAPER)
    return label


def _draw_curve(axis: Any, task: TaskComparison, figures: ArmFigures) -> Label:
    style = look(task, figures)
    ks = list(figures.pass_at_k)
    values = [100 * figures.pass_at_k[k].value for k in ks]
    axis.plot(ks, values, color=style.colour, marker=style.marker, markersize=3.5, linewidth=1.4)
    return Label(f"{figures.arm.name} · {values[-1]:.0f} %", ks[-1], values[-1], style.colour)


def _draw_histogram(axis: Any, row: int, figures: ArmFigures, edges: np.ndarray, colour: str) -> None:
    values = np.clip(figures.base_logprobs, edges[0], edges[-1])
    counts = np.histogram(values, edges)[0]
    axis.stairs(row + 0.85 * counts / counts.max(), edges, baseline=row, fill=True, color=colour, alpha=0.75)
    axis.plot([np.median(values)] * 2, [row, row + 0.3], color=INK, linewidth=1.2)


def _name_rows(axis: Any, task: TaskComparison, drawn: list[ArmFigures]) -> None:
    axis.set_yticks(range(len(drawn)), [figures.arm.name for figures in drawn])
    for text, figures in zip(axis.get_yticklabels(), drawn, strict=True):
        text.set(color=look(task, figures).colour, va="bottom")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _rows(task: TaskComparison) -> list[tuple[str, Contrast | None]]:
    """From top to bottom: headings, which have no contrast, and arms."""
    rows: list[tuple[str, Contrast | None]] = [(f"less {task.base}", None)]
    rows += [(contrast.first.arm.name, contrast) for contrast in task.against_base]
    if task.trained:
        chosen = best([f for f in task.trained if f.arm.is_single_shot] or task.trained)
        rows.append((f"{chosen.arm.name}, less", None))
        rows += [(c.second.arm.name, c) for c in task.trained_against_sampling if c.first is chosen]
    return rows


def _draw_row(axis: Any, task: TaskComparison, height: int, label: str, contrast: Contrast | None) -> None:
    at_left: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": FONT_SIZE}
    if contrast is None:
        axis.text(-0.02, height, label, color=INK, weight="bold", ha="right", **at_left)
        return
    difference, style = contrast.difference, look(task, contrast.first)
    named = look(task, contrast.first if label == contrast.first.arm.name else contrast.second)
    axis.text(-0.02, height, label, color=named.colour, ha="right", **at_left)
    axis.text(1.02, height, points(difference.value), color=MUTED, **at_left)
    axis.plot([100 * difference.low, 100 * difference.high], [height] * 2, color=style.colour, linewidth=1.4)
    filling = style.colour if difference.is_told_from_nothing else PAPER
    axis.plot(
        [100 * difference.value], [height], style.marker, color=style.colour, markerfacecolor=filling, markersize=4.5
    )


def _say(axis: Any, text: str) -> None:
    axis.set_axis_off()
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", color=MUTED)
