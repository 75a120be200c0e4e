from pathlib import Path

import pytest

from rl.errors import UserError
from rl.resume import RESUMERS, kind_of, require_kind, resume


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
