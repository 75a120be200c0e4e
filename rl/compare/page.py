"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from rl.compare.charts import charts_of
from rl.compare.comparison import Comparison, TaskComparison
from rl.compare.depth import has_depths
from rl.compare.draw import panel_svg
from rl.compare.palette import BASE, CSS_NAMES, look
from rl.compare.savings import savings
from rl.compare.verdict import judge, points, render_difference
from rl.sample.realised import render_realised

TEMPLATE = "page.html"
"""Beside this file."""


def render_page(comparison: Comparison) -> str:
    """The page. Every text of a config or a model is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"points": points, "difference": render_difference, "percent": _percent, "count": _count}
    environment.filters |= {"realised": render_realised, "operations": _operations}
    template = environment.from_string(files("rl.compare").joinpath(TEMPLATE).read_text("utf-8"))
    return template.render(
        comparison=comparison,
        verdicts=[judge(task) for task in comparison.tasks],
        charts=[
            (chart, [(task, panel_svg(chart, task)) for task in comparison.tasks]) for chart in charts_of(comparison)
        ],
        has_depths=has_depths(comparison),
        kind_of=_kind,
        savings_of=savings,
    )


def _kind(task: TaskComparison, arm: str) -> str:
    """The CSS class of an arm's name."""
    figures = next(figures for figures in task.figures if figures.arm.name == arm)
    return CSS_NAMES.get(look(task, figures).colour, CSS_NAMES[BASE])


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _operations(number: float | None) -> str:
    """Three digits and a power of ten; a dash where there is none."""
    return "–" if number is None else f"{number:.2e}"


def _count(number: float | None) -> str:
    """With commas; a dash where there is none."""
    if number is None:
        return "–"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"
