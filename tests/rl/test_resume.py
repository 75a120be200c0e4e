from pathlib import Path

import pytest

from rl.config import load_config
from rl.errors import UserError
from rl.pretrain.config import load_pretrain_config
from rl.pretrain.run import begin as begin_pretrain
from rl.resume import RESUMERS, kind_of, require_kind, require_no_other, resume
from rl.run import begin as begin_train

from .commands import CONFIG, REPO


def run(folder: Path, config: str) -> Path:
    (folder / "config.yaml").write_text(config)
    return folder


@pytest.mark.parametrize(
    ("config", "kind"),
    [("kind: pretrain\nseed: 0\n", "pretrain"), ("seed: 0\n", "train"), ("", "train"), ("a: [", "train")],
)
def test_the_config_says_which_command_began_a_run(tmp_path: Path, config: str, kind: str) -> None:
    assert kind_of(run(tmp_path, config)) == kind


def test_a_run_of_another_kind_is_refused_by_its_name(tmp_path: Path) -> None:
    require_kind(run(tmp_path, "kind: pretrain\n"), "pretrain")
    with pytest.raises(UserError, match="is a run of `zerokl pretrain`, and this takes one of `zerokl train`"):
        require_kind(tmp_path, "train")


@pytest.mark.parametrize("kind", ["train", "pretrain", "train-prm"])
def test_a_folder_that_is_free_or_of_the_same_command_may_be_used(tmp_path: Path, kind: str) -> None:
    require_no_other(tmp_path / "missing", kind)
    require_no_other(run(tmp_path, f"kind: {kind}\n"), kind)


@pytest.mark.parametrize(
    ("left", "command"),
    [
        ("config.yaml", "pretrain"),
        ("data/config.yaml", "train-prm"),
        ("samples.jsonl", "sample"),
        ("arms/base/sums/samples.jsonl", "compare"),
    ],
)
def test_a_folder_in_which_another_command_has_worked_is_refused(tmp_path: Path, left: str, command: str) -> None:
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text("kind: pretrain\n")
    with pytest.raises(UserError, match=f"holds what `zerokl {command}` left, which `zerokl train` would write over"):
        require_no_other(tmp_path, "train")


def test_train_and_pretrain_leave_a_run_alone_that_is_still_drawing(tmp_path: Path) -> None:
    folder = run(tmp_path, "kind: train-prm\n")
    for refused in (
        lambda: begin_train(load_config(CONFIG, [f"run.dir={folder}"])),
        lambda: begin_pretrain(load_pretrain_config(REPO / "configs" / "tiny_pretrain.yaml", [f"run.dir={folder}"])),
    ):
        with pytest.raises(UserError, match="holds what `zerokl train-prm` left"):
            refused()
    assert (folder / "config.yaml").read_text() == "kind: train-prm\n"


def test_a_kind_that_nobody_knows_and_a_folder_that_is_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no config.yaml"):
        kind_of(tmp_path)
    with pytest.raises(UserError, match="kind must be pretrain or train-prm, got 'retrain'"):
        resume(run(tmp_path, "kind: retrain\n"), [], False)


def test_whoever_goes_on_is_called_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("rl.pretrain.run.resume", lambda *arguments: called.append(arguments))
    resume(run(tmp_path, "kind: pretrain\n"), ["trainer.world_size=2"], True)
    assert called == [(tmp_path, ["trainer.world_size=2"], True)]
    assert set(RESUMERS) == {"pretrain", "train-prm"}
