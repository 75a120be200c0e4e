from pathlib import Path

import pytest

from rl.data.jsonl import read_jsonl
from rl.errors import UserError


def written(folder: Path, data: bytes) -> Path:
    path = folder / "sums.jsonl"
    path.write_bytes(data)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_jsonl(path, "data.sources.0.jsonl")
    return str(caught.value)


def test_every_line_is_a_row_that_knows_where_it_stands(tmp_path):
    path = written(tmp_path, b'{"prompt": "1 + 1"}\n{"prompt": "2 + 2", "answer": 4}\n')
    rows = read_jsonl(path, "key")
    assert [(row.index, row.where) for row in rows] == [(0, f"{path}, line 1"), (1, f"{path}, line 2")]
    assert rows[1].values == {"prompt": "2 + 2", "answer": 4}


def test_the_last_line_may_do_without_its_newline_and_lines_may_end_as_on_windows(tmp_path):
    rows = read_jsonl(written(tmp_path, b'{"prompt": "a"}\r\n{"prompt": "b"}'), "key")
    assert [row.values["prompt"] for row in rows] == ["a", "b"]


def test_only_a_newline_ends_a_line(tmp_path):
    rows = read_jsonl(written(tmp_path, '{"prompt": "a\u2028b\x85c"}\n'.encode()), "key")
    assert [row.values["prompt"] for row in rows] == ["a\u2028b\x85c"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "is empty; every line must be a JSON object"),
        (b"  \t", "is empty; every line must be a JSON object"),
        (b'{"prompt": "1"', "is not JSON: Expecting ',' delimiter at character 15"),
        (b"prompt: 1", "is not JSON: Expecting value at character 1"),
        (b'{"prompt": "\xff"}', "is not UTF-8: 'utf-8' codec can't decode byte 0xff"),
        (b'["1 + 1"]', """must be a JSON object, got '["1 + 1"]'"""),
        (b"null", "must be a JSON object, got 'null'"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path, line, said):
    path = written(tmp_path, b'{"prompt": "1 + 1"}\n' + line + b'\n{"prompt": "2 + 2"}\n')
    assert complaint(path).startswith(f"{path}, line 2 {said}")


def test_an_empty_file_is_named(tmp_path):
    path = written(tmp_path, b"")
    assert complaint(path) == f"data.sources.0.jsonl: {path} is empty; it needs a JSON object a line"


def test_a_file_that_is_not_there_is_named_with_the_nearest_that_is(tmp_path):
    written(tmp_path, b"{}")
    said = complaint(tmp_path / "sum.jsonl")
    assert said.startswith(f"data.sources.0.jsonl: there is no file at {tmp_path / 'sum.jsonl'}")
    assert "did you mean 'sums.jsonl'?" in said
    assert "there is no file at" in complaint(tmp_path / "no" / "folder.jsonl")
    assert "there is no file at" in complaint(tmp_path)
