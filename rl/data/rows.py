"""Reads a row of a file or a data set as a question."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.data.config import SourceConfig
from rl.data.nearest import nearest
from rl.data.types import Message, Question
from rl.errors import UserError

MESSAGES = "messages"
"""The column that is read where the prompt's is not there."""
_RESERVED = ("prompts", "completions", "completion_ids")
"""What reward functions are handed besides the columns, in TRL's convention."""


@dataclass(frozen=True)
class Row:
    """One line of a file, or one row of a data set."""

    index: int
    """From 0."""
    where: str
    """`sums.jsonl, line 18`."""
    values: Mapping[str, Any]


def question_of(row: Row, source: SourceConfig, key: str) -> Question:
    """The question that `row` asks; `key` is what `source` stands under in the config.

    Raises UserError naming the row and the column where it asks none.
    """
    column = _prompt_column(row, source, key)
    columns = {name: value for name, value in row.values.items() if name != column}
    for name in _RESERVED:
        if name in columns:
            raise UserError(f"{row.where}: column {name!r} has a name that reward functions need; rename it")
    columns["answer"] = _answer(row, source, key)
    if columns["answer"] is None:  # which a data set with a fixed schema says of a row that has none
        del columns["answer"]
    return Question(row.index, row.where, _messages(row, column), columns)


def _prompt_column(row: Row, source: SourceConfig, key: str) -> str:
    for column in (source.prompt, MESSAGES):
        if column in row.values:
            return column
    raise UserError(
        f"{row.where}: there is no column {source.prompt!r}{nearest(source.prompt, row.values)}; "
        f"there are {', '.join(row.values) or 'none'}; set {key}.prompt to the one with the question"
    )


def _messages(row: Row, column: str) -> tuple[Message, ...]:
    value, where = row.values[column], f"{row.where}: column {column!r}"
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, Sequence) or not value:
        raise UserError(f"{where} must be a text or a list of messages, got {value!r}")
    messages = tuple(_message(item, where) for item in value)
    if messages[-1].role == "assistant":
        raise UserError(f"{where} ends with the assistant's own message; end it with what the model is to answer")
    return messages


def _message(item: Any, where: str) -> Message:
    # Data sets with a fixed schema fill the keys that a message does not have with nulls.
    given = {name: value for name, value in item.items() if value is not None} if isinstance(item, Mapping) else {}
    if set(given) != {"role", "content"} or not all(isinstance(value, str) for value in given.values()):
        raise UserError(f"{where}: a message must be a role and a content, both text, got {item!r}")
    if not given["content"].strip():
        raise UserError(f"{where} is empty, so there is nothing to answer; take the row out")
    return Message(given["role"], given["content"])


def _answer(row: Row, source: SourceConfig, key: str) -> Any:
    """What reward functions are given as `answer`; None where the row has none. Numbers and booleans become text."""
    value = row.values.get(source.answer)
    if value is None:
        if source.answer != SourceConfig().answer or source.answer_after:
            raise UserError(
                f"{row.where}: there is no answer in column {source.answer!r}{nearest(source.answer, row.values)}; "
                f"there are {', '.join(row.values)}; set {key}.answer"
            )
        return None
    if isinstance(value, int | float):
        value = json.dumps(value)
    return _after(value, source.answer_after, row, key) if source.answer_after else value


def _after(value: Any, mark: str, row: Row, key: str) -> str:
    if not isinstance(value, str) or mark not in value:
        raise UserError(f"{row.where}: the answer {value!r} has no {mark!r} to look behind; see {key}.answer_after")
    return value.rpartition(mark)[2].strip()
