"""The chart of accuracy over depth, read off the axes."""

from dataclasses import replace

import pytest

from rl.compare.charts import charts_of
from rl.compare.comparison import Comparison
from rl.compare.depth import draw_depth
from rl.compare.measures import ArmFigures
from rl.compare.page import render_page

from .arms import arm, task


def at_depth(figures: ArmFigures, recurrence: float) -> ArmFigures:
    return replace(figures, samples=replace(figures.samples, recurrence=recurrence))


BASE = at_depth(arm("base", [True, False, False, False]), 4)
DEEPER = at_depth(arm("deeper", [True, True, False, False]), 8)
SHALLOW = at_depth(arm("shallow", [False] * 4), 1)
RL = at_depth(arm("rl", [True, True, True, False], trained=True), 4)


def lines(*figures: ArmFigures) -> list[tuple[list[float], list[float]]]:
    """The points of every line that joins arms."""
    from matplotlib.figure import Figure

    axis = Figure().add_subplot()
    draw_depth(axis, task(*figures), 200)
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()]
    return [line for line in drawn if len(set(line[0])) > 1]


def test_arms_of_the_same_weights_and_method_are_joined_by_depth() -> None:
    assert lines(BASE, DEEPER, SHALLOW, RL) == [([1, 4, 8], [0.0, 25.0, 50.0])]


def test_arms_that_differ_in_more_than_depth_are_not() -> None:
    other = at_depth(arm("as deep", [True] * 4), 4)
    assert lines(BASE, DEEPER, other) == []
    assert lines(BASE, at_depth(arm("vote", [True] * 4, method="vote"), 8)) == []


@pytest.mark.parametrize(("arms", "is_there"), [((BASE, DEEPER), True), ((BASE, RL), False)])
def test_a_comparison_at_one_depth_has_no_such_chart(arms: tuple[ArmFigures, ...], is_there: bool) -> None:
    compared = Comparison("mine", "tiny:recurrent", (task(*arms),))
    assert ("depth" in [chart.key for chart in charts_of(compared)]) is is_there
    page = render_page(compared)
    assert ("Accuracy against depth" in page) is is_there
    assert ("<th>runs of<br>the core</th>" in page) is is_there
