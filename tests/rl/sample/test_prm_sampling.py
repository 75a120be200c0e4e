"""`zerokl sample` with a process reward model of random weights, as a user starts it."""

import json
from pathlib import Path

import pytest

from rl.sample.config import load_sample_config
from rl.sample.run import _require_inputs

from ..commands import zerokl
from ..tiny_prm import write_tiny_prm

CONFIG = """
model: {path: tiny:llama}
method: adaptive_beam
params: {num_beams: 2, confidence: 0.9}
prm: prm
num_samples: 4
max_new_tokens: 12
num_questions: 6
data: {task: chain_sum, params: {min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 2}}
rollout: {max_model_len: 256, kv_cache_gib: 0.25}
"""


@pytest.fixture
def workplace(tmp_path: Path, tiny_model: Path) -> Path:
    (tmp_path / "beams.yaml").write_text(CONFIG)
    write_tiny_prm(tmp_path / "prm", tiny_model)
    return tmp_path


@pytest.mark.engine
def test_beams_are_drawn_and_read_and_every_token_is_counted(workplace: Path) -> None:
    done = zerokl("sample", "beams.yaml", "run.dir=out", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "tokens scored" in done.stdout
    lines = [json.loads(line) for line in (workplace / "out" / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    for line in lines:
        tokens = [len(candidate["token_ids"]) for candidate in line["candidates"]]
        assert len(line["returned"]) == 1
        assert line["sampled_tokens"] >= max(tokens) and line["scored_tokens"] > line["sampled_tokens"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prm=nowhere", "prm 'nowhere' is no process reward model"),
        ("prm=''", "prm must be the path of a process reward model for adaptive_beam"),
        ("method=vote", "method vote looks at no process reward model"),
        ("prm=strange", "reads another vocabulary than the policy's"),
    ],
)
def test_a_model_that_cannot_be_had_ends_it_before_anything_starts(
    workplace: Path, tiny_model: Path, override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    if override == "prm=strange":
        _with_other_tokens(write_tiny_prm(workplace / "strange", workplace / "prm"))
    overrides = [override, "params={}"] if override == "method=vote" else [override]
    with pytest.raises(ValueError, match=message):
        _require_inputs(load_sample_config(Path("beams.yaml"), [f"model.path={tiny_model}", *overrides]))


def _with_other_tokens(folder: Path) -> None:
    """Two tokens of the tokenizer have each other's numbers."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["7"], vocabulary["8"] = vocabulary["8"], vocabulary["7"]
    path.write_text(json.dumps(tokenizer))
