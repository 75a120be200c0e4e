import json
from pathlib import Path

import pytest

from rl.compare.results import read_samples, require_same_questions
from rl.errors import UserError
from rl.sample.folder import SampleFolder, Settings

from .arms import question, samples

SUMMARY = {"method": "vote", "model": "m", "policy": "ab", "wall_s": 2.5, "num_questions": 2, "acceptance_rate": None}


def written(path: Path, **changes: object) -> Path:
    """A folder with two questions whose sampling has ended."""
    folder = SampleFolder(path)
    folder.open(Settings("seed: 0\n", {}))
    for index in range(2):
        folder.append(question(index, [True, False], tokens=9, returned=[1]))
    folder.write_summary({**SUMMARY, **changes})
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    realised = {"confidence": 0.99, "value": None}
    found = read_samples(written(tmp_path / "a", acceptance_rate=0.25, realised_success=realised))
    assert found.realised_success == realised
    assert found.questions == (question(0, [True, False], 9, [1]), question(1, [True, False], 9, [1]))
    assert (found.method, found.policy, found.wall_s, found.acceptance_rate) == ("vote", "ab", 2.5, 0.25)


def test_a_sampling_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    (path / "summary.json").unlink()
    with pytest.raises(UserError, match="has not ended"):
        read_samples(path)


@pytest.mark.parametrize(
    ("summary", "match"),
    [
        (json.dumps({**SUMMARY, "num_questions": 3}), "2 lines.*3 questions"),
        ('{"method": "vote"}', "lacks policy, wall_s, num_questions"),
        ("7", "lacks method|not JSON"),
        ("{", "not JSON"),
    ],
)
def test_a_summary_that_does_not_fit_is_named(tmp_path: Path, summary: str, match: str) -> None:
    path = written(tmp_path / "a")
    (path / "summary.json").write_text(summary)
    with pytest.raises(UserError, match=match):
        read_samples(path)


def test_arms_that_were_asked_something_else_are_named() -> None:
    asked = samples([question(0, [True], 1), question(1, [True], 1)])
    other = samples([question(0, [True], 1), question(5, [True], 1)])
    require_same_questions({"base": asked, "rl": asked}, "sums")
    with pytest.raises(UserError, match="task sums: arms base and vote .*question 1 is held_out/0/1 .*held_out/0/5"):
        require_same_questions({"base": asked, "rl": asked, "vote": other}, "sums")
    fewer = samples([question(0, [True], 1)])
    with pytest.raises(UserError, match="2 questions in the one and 1 in the other"):
        require_same_questions({"base": asked, "rl": fewer}, "sums")
