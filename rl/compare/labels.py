"""Names beside what they name, in a column at the right, none over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl.compare.palette import GRID

FONT_SIZE = 8.0
_LINE_HEIGHT = 1.3
"""Of a label, in font sizes."""
_LEFT = 1.04
"""Where the column begins, in widths of the axes."""


@dataclass(frozen=True)
class Label:
    """A name and the point it belongs to."""

    text: str
    x: float
    y: float
    colour: str


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places from 0 to 1, at least `gap` apart, in the order of `wanted` and with the least squared distance from it.

    Where there is no room for all, the gap is what they have.

    >>> [round(place, 2) for place in spread([0.5, 0.5, 0.9], 0.1)]
    [0.45, 0.55, 0.9]
    """
    from scipy.optimize import isotonic_regression

    if len(wanted) < 2:
        return list(wanted)
    gap = min(gap, 1 / (len(wanted) - 1))
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    # What is at least a gap apart is, less its steps, in ascending order.
    placed = isotonic_regression(np.asarray(wanted, np.float64)[order] - steps).x.clip(0, 1 - steps[-1]) + steps
    places = np.empty(len(wanted))
    places[order] = placed
    return [float(place) for place in places]


def draw_labels(axis: Any, labels: Sequence[Label], height_points: float) -> None:
    """Nothing; writes the labels at the right of `axis`, whose limits are set and whose y axis is linear.

    height_points: of the axes, in points of 1/72 inch.
    """
    low, high = axis.get_ylim()
    wanted = [min(1.0, max(0.0, (label.y - low) / (high - low))) for label in labels]
    places = spread(wanted, FONT_SIZE * _LINE_HEIGHT / height_points)
    for label, place in zip(labels, places, strict=True):
        axis.annotate(
            label.text,
            xy=(label.x, label.y),
            xytext=(_LEFT, place),
            textcoords="axes fraction",
            color=label.colour,
            fontsize=FONT_SIZE,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GRID, "linewidth": 0.7, "shrinkB": 3, "relpos": (0, 0.5)},
        )
