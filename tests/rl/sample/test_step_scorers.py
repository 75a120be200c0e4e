"""Process reward models of a sampling, without the actors that serve them."""

from contextlib import contextmanager

import pytest

from rl.errors import UserError
from rl.sample.step_scorers import StepScorers, require_step_scorer


@pytest.fixture
def opened(monkeypatch):
    """The paths of what is open, by a stand-in for the actors."""
    from reward.prm import serving

    paths = []

    @contextmanager
    def serve(path, tokenizer, **settings):
        paths.append(path)
        yield f"scorer of {path}"
        paths.remove(path)

    monkeypatch.setattr(serving, "open_step_scorer", serve)
    return paths


def test_each_is_opened_once_and_all_are_closed(opened):
    scorers = StepScorers("tokenizer", timeout_s=5.0)
    assert [scorers.get(path) for path in ("a", "b", "a")] == ["scorer of a", "scorer of b", "scorer of a"]
    assert opened == ["a", "b"]
    scorers.close()
    assert opened == []


def test_an_empty_path_opens_none(opened):
    assert StepScorers("tokenizer", timeout_s=5.0).get("") is None
    assert opened == []
    require_step_scorer("", "tokenizer")


def test_what_cannot_be_opened_is_bad_input(monkeypatch):
    from reward.prm import serving

    def refuse(path, tokenizer, **settings):
        raise ValueError(f"{path} is no process reward model")

    monkeypatch.setattr(serving, "open_step_scorer", refuse)
    with pytest.raises(UserError, match="a is no process reward model"):
        StepScorers("tokenizer", timeout_s=5.0).get("a")
