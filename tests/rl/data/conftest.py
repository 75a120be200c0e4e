"""Shared by the tests of the data: a tokenizer of one token a character, and files to read."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rl.data import Data, DataConfig, SourceConfig, load_data
from rl.tiny_model import tiny_tokenizer

WriteJsonl = Callable[..., Path]
LoadSources = Callable[..., Data]


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def write_jsonl(tmp_path: Path) -> WriteJsonl:
    def write(rows: Sequence[Any], name: str = "sums.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture(scope="session")
def load(tokenizer) -> LoadSources:
    """Loads sources as they stand in a config."""

    def load_sources(*sources: SourceConfig, seed: int = 0, num_held_out: int = 3, **data: Any) -> Data:
        return load_data(DataConfig(sources=list(sources), num_held_out=num_held_out, **data), tokenizer, seed)

    return load_sources


@pytest.fixture
def twenty(write_jsonl: WriteJsonl) -> SourceConfig:
    """A file of twenty different questions."""
    return SourceConfig(jsonl=str(write_jsonl([{"prompt": f"{i} + 1", "answer": str(i + 1)} for i in range(20)])))
