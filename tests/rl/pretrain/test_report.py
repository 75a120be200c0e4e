import json
from pathlib import Path

import pytest

from rl.errors import UserError
from rl.pretrain.report import Point, plot_depth, points_of, render_accuracy

FIGURES = {
    **{"accuracy/n02/r01": 0.5, "accuracy/n10/r01": 0.25, "accuracy/n02/r04": 1.0, "accuracy/n10/r04": 0.75},
    **{"held_out/accuracy": 0.875, "held_out/low": 0.8, "held_out/high": 0.9},
}


def run(folder: Path, figures: dict[str, float]) -> Path:
    report = {"accuracy": [vars(point) for point in points_of(figures, 8)]}
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "summary.json").write_text(json.dumps(report))
    return folder


def test_points_are_read_off_the_figures_with_their_intervals() -> None:
    points = points_of(FIGURES, 8)
    assert [(p.num_operands, p.recurrence, p.accuracy) for p in points] == [
        *((2, 1, 0.5), (10, 1, 0.25), (2, 4, 1.0), (10, 4, 0.75)),
    ]
    assert all(p.low <= p.accuracy <= p.high and p.num_problems == 8 for p in points)
    (static,) = points_of({"accuracy/n03": 0.5}, 8)
    assert static.recurrence is None and 0.2 < static.low < 0.25 and 0.75 < static.high < 0.8


def test_the_table_has_a_row_a_number_of_operands_and_a_column_a_depth() -> None:
    assert render_accuracy(points_of(FIGURES, 8)).splitlines() == [
        "operands     r=1      r=4",
        "       2  50.0 %  100.0 %",
        "      10  25.0 %   75.0 %",
    ]
    assert render_accuracy([Point(3, None, 8, 0.5, 0.2, 0.8)]).splitlines()[0] == "operands  accuracy"


def test_a_figure_names_runs_and_depths_and_is_the_same_file_again(tmp_path: Path) -> None:
    runs = [run(tmp_path / "deep", FIGURES), run(tmp_path / "twin", {"accuracy/n02": 0.5, "accuracy/n10": 0.5})]
    for name in ("one.svg", "two.svg"):
        plot_depth(runs, tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert all(f"<!-- {word} -->" in text for word in ("deep", "twin", "r = 1", "r = 4", "static", "operands"))
    assert text == (tmp_path / "two.svg").read_text()


def test_a_run_without_a_report_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no report/summary.json"):
        plot_depth([tmp_path], tmp_path / "x.svg")
    with pytest.raises(UserError, match="--out"):
        plot_depth([run(tmp_path / "deep", FIGURES)], tmp_path / "x.tables")
