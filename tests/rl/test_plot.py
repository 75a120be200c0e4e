import json
from pathlib import Path

import pytest

from rl.errors import UserError
from rl.plot import PANELS, plot_runs


def run(folder: Path, accuracy: float) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 0\n")
    held_out = {"step": 0, "held_out/accuracy": accuracy, "held_out/low": accuracy, "held_out/high": accuracy}
    step = {"step": 1, "reward/mean": accuracy, "proof/mismatched_share": 0.0, "proof/kl": 0.0}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (held_out, step)))
    return folder


def test_a_figure_names_its_runs_and_quantities_and_is_the_same_file_again(tmp_path: Path) -> None:
    runs = [run(tmp_path / "exact", 0.5), run(tmp_path / "stock", 0.4)]
    for name in ("one.svg", "two.svg"):
        plot_runs(runs, tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert all(f"<!-- {word} -->" in text for word in ("exact", "stock", *(panel.label for panel in PANELS)))
    assert text == (tmp_path / "two.svg").read_text()


def test_other_data_give_another_figure(tmp_path: Path) -> None:
    plot_runs([run(tmp_path / "a", 0.5)], tmp_path / "a.svg")
    (tmp_path / "b").mkdir()
    plot_runs([run(tmp_path / "b" / "a", 0.9)], tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_text() != (tmp_path / "b.svg").read_text()


def test_what_is_no_run_and_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        plot_runs([tmp_path / "nowhere"], tmp_path / "x.svg")
    with pytest.raises(UserError, match="--out"):
        plot_runs([run(tmp_path / "a", 0.5)], tmp_path / "x.tables")
