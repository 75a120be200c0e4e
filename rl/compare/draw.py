"""Draws charts: all tasks of a chart side by side as a PNG file, or one task's panel as SVG for the page."""

import io
import re
from pathlib import Path
from typing import Any

from rl.compare.charts import Chart
from rl.compare.comparison import TaskComparison
from rl.compare.palette import INK, MUTED, PAPER, with_css_variables

_PANEL_INCHES = 5.4
_TITLE_INCHES, _MARGIN_INCHES, _BOTTOM_INCHES = 0.35, 0.08, 0.5
_AXES_WIDTH = 0.60
"""Of a panel; names stand at its right or its left."""
_SETTINGS: dict[str, Any] = {
    "font.size": 8.5,
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
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "svg.hashsalt": "zerokl",  # the same figure is the same file
}
_SERIAL_ID = re.compile(r' id="[a-zA-Z0-9]+_\d+"')
"""Matplotlib numbers its groups anew in every drawing; in one page the numbers would clash."""
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def write_png(chart: Chart, tasks: tuple[TaskComparison, ...], path: Path) -> None:
    """Nothing; writes all tasks side by side."""
    height = max(chart.height(task) for task in tasks) + _TITLE_INCHES
    with _settings():
        figure = _figure(_PANEL_INCHES * len(tasks), height)
        for column, task in enumerate(tasks):
            axis = _add_panel(figure, chart, task, column / len(tasks), 1 / len(tasks), _TITLE_INCHES)
            axis.set_title(f"{task.name} · {'in-domain' if task.in_domain else 'out-of-domain'}", loc="left")
        figure.savefig(path, dpi=160, bbox_inches="tight")


def panel_svg(chart: Chart, task: TaskComparison) -> str:
    """One task's panel as an SVG element whose colours are the page's variables."""
    height = chart.height(task)
    with _settings():
        figure = _figure(_PANEL_INCHES, height)
        _add_panel(figure, chart, task, 0, 1, _MARGIN_INCHES)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None, "Creator": None}
        )
    drawing = out.getvalue()
    return with_css_variables(_METADATA.sub("", _SERIAL_ID.sub("", drawing[drawing.index("<svg") :])))


def _settings() -> Any:
    import matplotlib

    settings: Any = _SETTINGS  # matplotlib's stubs want every key spelt out
    return matplotlib.rc_context(settings)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def _add_panel(figure: Any, chart: Chart, task: TaskComparison, left: float, width: float, top_inches: float) -> Any:
    """The axes of one task, in a panel that begins at `left` and is `width` wide, in widths of the figure."""
    height = figure.get_figheight()
    axes_height = height - top_inches - _BOTTOM_INCHES
    axis = figure.add_axes(
        (left + chart.left * width, _BOTTOM_INCHES / height, _AXES_WIDTH * width, axes_height / height)
    )
    chart.draw(axis, task, 72 * axes_height)
    return axis
