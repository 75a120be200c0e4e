"""What a sampling draws from is known by content."""

import json
from pathlib import Path

import pytest

from rl.config import ModelConfig
from rl.data import DataConfig, SourceConfig
from rl.models import resolve_model
from rl.sample.config import SampleConfig, check
from rl.sample.origin import settings_of


@pytest.fixture
def config(tmp_path: Path) -> SampleConfig:
    model_dir = resolve_model("tiny:llama", tmp_path, seed=0)
    rows = [{"prompt": f"{n} + 1 =", "answer": str(n + 1)} for n in range(8)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataConfig(sources=[SourceConfig(jsonl=str(tmp_path / "asked.jsonl"))], chat=False, num_held_out=8)
    made = SampleConfig(model=ModelConfig(str(model_dir)), data=data, num_questions=8)
    check(made)
    return made


@pytest.mark.parametrize(
    ("name", "before", "after", "what"),
    [
        ("tiny-llama-0/model.safetensors", b"", b" ", "model"),
        ("tiny-llama-0/tokenizer.json", b"", b" ", "model"),
        ("asked.jsonl", b'"7"', b'"77"', "questions"),
    ],
)
def test_another_file_at_the_same_path_is_another_origin(
    config: SampleConfig, tmp_path: Path, name: str, before: bytes, after: bytes, what: str
) -> None:
    origin = settings_of(config).origin
    assert settings_of(config).origin == origin
    path = tmp_path / name
    path.write_bytes(path.read_bytes().replace(before, after) if before else path.read_bytes() + after)
    changed = settings_of(config).origin
    assert [key for key in origin if origin[key] != changed[key]] == [what]
