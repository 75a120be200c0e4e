"""The figures of the report, each a PNG."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward.prm.calibration import QuantileReport
from rl.compare.palette import BASE, GRID, INK, MUTED, PAPER, SAMPLING, TRAINED
from rl.prm.figures import AS_LEARNED, RECALIBRATED
from rl.prm.measure import Measured

_COLOURS = (TRAINED, SAMPLING, BASE, "#009e73", "#cc79a7", "#e69f00")
"""Okabe and Ito's, which people with any kind of colour vision tell apart: the main fit first."""
_SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
}
_MAX_AREA = 220.0
"""Of a mark, in square points: it shows how much of the data a bin holds."""


@dataclass(frozen=True)
class Chart:
    """One figure."""

    key: str
    """Name of its file, without ending."""
    title: str
    caption: str
    draw: Callable[[Any, Measured], None]
    """Fills the matplotlib axes it is given."""


def draw_reliability(axis: Any, measured: Measured) -> None:
    """What came of the places that were given about the same chance: on the diagonal, what was said."""
    figures = measured.fits[0].figures
    _diagonal(axis)
    for colour, name in ((BASE, f"mean, {AS_LEARNED}"), (TRAINED, f"mean, {RECALIBRATED}"), (SAMPLING, "isotonic")):
        bins = figures.estimators[name].reliability
        x, y = [b.mean_estimate for b in bins], [b.mean_target for b in bins]
        axis.plot(x, y, color=colour, linewidth=1, alpha=0.6)
        axis.scatter(x, y, s=[max(6.0, _MAX_AREA * b.weight) for b in bins], color=colour, alpha=0.8, label=name)
    axis.set(xlabel="chance to succeed, as estimated", ylabel="share of rollouts that succeeded")
    axis.legend()


def draw_coverage(axis: Any, measured: Measured) -> None:
    """How often the chance lies at or below each quantile, less how often it should."""
    axis.axhline(0, color=MUTED, linewidth=0.8)
    axis.axhspan(-3, 3, color=GRID, alpha=0.5, linewidth=0)
    for place, fit in enumerate(measured.fits):
        _draw_gaps(axis, place, fit.fitted.plan.name, fit.figures.quantiles[RECALIBRATED], len(measured.fits))
    axis.set_xticks(measured.config.prm.quantiles)
    axis.set(xlabel="level of the quantile", ylabel="coverage less its level, points")
    axis.legend()


def draw_estimators(axis: Any, measured: Measured) -> None:
    """The Brier score of every estimate of the main fit, with its interval."""
    estimators = measured.fits[0].figures.estimators
    names = list(reversed(list(estimators)))
    for row, name in enumerate(names):
        report = estimators[name]
        colour = TRAINED if RECALIBRATED in name else BASE
        axis.plot([report.brier.low, report.brier.high], [row, row], color=colour, linewidth=1.4)
        axis.plot([report.brier.value], [row], "o", color=colour, markersize=5)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("Brier score, lower is better")
    axis.grid(axis="x", color=GRID, linewidth=0.6)


CHARTS = (
    Chart(
        "reliability",
        "Reliability",
        "Places of the test questions in bins of about the same estimate; the area of a mark is their share. The end "
        "of a finished solution counts as a place.",
        draw_reliability,
    ),
    Chart(
        "coverage",
        "Coverage of the quantiles",
        "How often the chance to succeed lies at or below a quantile, less the quantile's level, at the places of the "
        "test questions that are not the end of a finished solution, with 95 % intervals over questions. The band is "
        "three points. Where the true chances are known it is they that are covered; elsewhere it is the share of "
        "rollouts, which scatters more widely than the chance itself.",
        draw_coverage,
    ),
    Chart(
        "brier",
        "Estimates",
        "Mean squared distance of an estimate from the share of rollouts that succeeded, with 95 % intervals over "
        "questions.",
        draw_estimators,
    ),
)


def write_png(chart: Chart, measured: Measured, path: Path) -> None:
    """Nothing; writes one figure."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = _SETTINGS  # matplotlib's stubs want every key spelt out
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        chart.draw(figure.add_subplot(), measured)
        figure.savefig(path, dpi=150, metadata={"Software": None})


def _diagonal(axis: Any) -> None:
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _draw_gaps(axis: Any, place: int, name: str, report: QuantileReport, num_fits: int) -> None:
    colour, shift = _COLOURS[place % len(_COLOURS)], 0.012 * (place - (num_fits - 1) / 2)
    levels = [level.level + shift for level in report.coverage]
    for x, level in zip(levels, report.coverage, strict=True):
        axis.plot([x, x], [100 * (level.low - level.level), 100 * (level.high - level.level)], color=colour)
    gaps = [100 * (level.at_or_below - level.level) for level in report.coverage]
    axis.plot(levels, gaps, "o", color=colour, markersize=5, label=name)
