"""`zerokl sample` on the tiny model, as a user starts it."""

import json
import shutil
from pathlib import Path

import pytest

from ..commands import REPO, refusal, zerokl

pytestmark = pytest.mark.engine
CONFIG = REPO / "configs" / "tiny_sample.yaml"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A power sampling that went through, on one actor."""
    workplace = tmp_path_factory.mktemp("sample")
    done = zerokl("sample", CONFIG, "run.dir=whole", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "proposals accepted" in done.stdout
    return workplace / "whole"


def test_every_question_has_its_line_and_the_summary_its_figures(whole):
    lines = [json.loads(line) for line in (whole / "samples.jsonl").read_text().splitlines()]
    summary = json.loads((whole / "summary.json").read_text())
    assert len(lines) == summary["num_questions"] == 8
    assert all(line["returned"] == [0, 1] and len(line["candidates"]) == 2 for line in lines)
    assert summary["sampled_tokens"] == sum(line["sampled_tokens"] for line in lines) > summary["returned_tokens"]
    assert 0 < summary["acceptance_rate"] <= 1


def test_other_actors_and_an_interruption_change_no_byte(whole):
    workplace = whole.parent
    begun = workplace / "begun"
    begun.mkdir()
    for name in ("config.yaml", "origin.json"):
        shutil.copy(whole / name, begun)
    first = (whole / "samples.jsonl").read_text().splitlines(keepends=True)[:3]
    (begun / "samples.jsonl").write_text("".join(first) + '{"prompt_id": "cut sh')
    done = zerokl("sample", CONFIG, "run.dir=begun", "rollout.num_actors=2", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert (begun / "samples.jsonl").read_bytes() == (whole / "samples.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [(["params.alpha=0"], "alpha"), (["method=pwoer"], "did you mean power"), (["num_question=3"], "num_questions")],
)
def test_bad_input_ends_it_before_anything_starts(tmp_path, overrides, message):
    assert message in refusal("sample", CONFIG, *overrides, cwd=tmp_path)
