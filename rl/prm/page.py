"""The report as an HTML page beside its figures."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from rl.prm.charts import CHARTS
from rl.prm.measure import Measured

TEMPLATE = "page.html"
"""Beside this file."""


def render_page(measured: Measured, summary: dict[str, Any]) -> str:
    """The page. Every text of a config is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": _figure, "points": _points, "count": _count}
    template = environment.from_string(files("rl.prm").joinpath(TEMPLATE).read_text("utf-8"))
    return template.render(measured=measured, summary=summary, charts=CHARTS)


def _figure(figure: Any) -> str:
    """`0.123 (0.110 to 0.140)`; a dash where there is none."""
    return "–" if figure is None else f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _count(number: float) -> str:
    return f"{number:,.0f}"
