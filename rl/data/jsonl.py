"""JSONL files: a JSON object a line, every line one question."""

import json
from pathlib import Path
from typing import Any

from rl.data.nearest import nearest
from rl.data.rows import Row
from rl.errors import UserError


def read_jsonl(path: Path, key: str) -> list[Row]:
    """The file's rows in order. Raises UserError naming file and line; `key` is where the config names the file."""
    if not path.is_file():
        raise UserError(f"{key}: there is no file at {path}{_nearest_file(path)}; paths start at the current folder")
    with path.open("rb") as file:
        # In bytes, because only "\n" ends a line here, while text can hold other characters that look like an end.
        rows = [Row(i, f"{path}, line {i + 1}", _object(line, f"{path}, line {i + 1}")) for i, line in enumerate(file)]
    if not rows:
        raise UserError(f"{key}: {path} is empty; it needs a JSON object a line")
    return rows


def _object(line: bytes, where: str) -> dict[str, Any]:
    if not line.strip():
        raise UserError(f"{where} is empty; every line must be a JSON object")
    try:
        value = json.loads(line.rstrip())  # so that an error stands in the line and not behind it
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON: {error.msg} at character {error.pos + 1}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a JSON object, got {line.decode()[:40].strip()!r}")
    return value


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return nearest(path.name, (other.name for other in path.parent.iterdir() if other.is_file()))
