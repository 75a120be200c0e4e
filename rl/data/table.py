"""Sources that have an end: some questions are held out, the others come round once an epoch."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rl.data.config import SourceConfig
from rl.data.hub import read_hub
from rl.data.jsonl import read_jsonl
from rl.data.order import permutation, ranked
from rl.data.rows import Row, question_of
from rl.data.types import HeldOut, Question
from rl.errors import UserError

logger = logging.getLogger(__name__)


class TableSource:
    """The questions of a JSONL file or a Hugging Face data set; of rows that ask the same, the first counts."""

    def __init__(self, source: SourceConfig, key: str, seed: str) -> None:
        """`key` is what `source` stands under in the config. Raises UserError naming the row that cannot be used."""
        self._name, self._key, self._seed = source.name, key, seed
        self._own = _read(source, key, held_out=False)
        self._kept_apart = _read(source, key, held_out=True) if source.held_out else None

    def held_out(self, num: int) -> HeldOut:
        """The first `num` by a seeded hash of the question, so that they stay the same when the file is reordered."""
        found = self._own if self._kept_apart is None else self._kept_apart
        if num > len(found):
            raise UserError(
                f"{self._key}: {self._name} has {len(found)} different questions to hold out from, {num} are to be "
                "held out; lower data.num_held_out"
            )
        chosen = ranked(found, f"{self._seed}/held_out")[:num]
        keys = chosen if self._kept_apart is None else found
        return HeldOut(tuple(found[key] for key in chosen), frozenset(keys))

    def train(self, excluded: frozenset[str]) -> "Epochs":
        """The questions whose key is not `excluded`, an epoch after the other."""
        left = [question for key, question in self._own.items() if key not in excluded]
        if not left:
            raise UserError(
                f"{self._key}: all {len(self._own)} questions of {self._name} are held out, which leaves none to learn "
                "from; lower data.num_held_out"
            )
        return Epochs(left, self._seed)


class Epochs:
    """Questions that come round once an epoch, in another order each time."""

    def __init__(self, questions: Sequence[Question], seed: str) -> None:
        self.questions, self._seed = questions, seed
        self._order = functools.lru_cache(maxsize=2)(self._make_order)

    def at(self, position: int) -> tuple[int, Question]:
        """Epoch and question there."""
        epoch, slot = divmod(position, len(self.questions))
        return epoch, self.questions[self._order(epoch)[slot]]

    def _make_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return permutation(f"{self._seed}/epoch/{epoch}", len(self.questions))


def _read(source: SourceConfig, key: str, *, held_out: bool) -> dict[str, Question]:
    """The different questions of a file or split by their key, in its order."""
    rows = _rows(source, key, held_out=held_out)
    questions: dict[str, Question] = {}
    for row in rows:
        question = question_of(row, source, key)
        questions.setdefault(question.key, question)
    if len(questions) < len(rows):
        logger.warning("%s: %d of its rows repeat a question and are left out", key, len(rows) - len(questions))
    _check_answers(list(questions.values()), key)
    return questions


def _rows(source: SourceConfig, key: str, *, held_out: bool) -> list[Row]:
    if source.kind == "dataset":
        return read_hub(source, source.held_out if held_out else source.split, key)
    name = "held_out" if held_out else "jsonl"
    return read_jsonl(Path(getattr(source, name)), f"{key}.{name}")


def _check_answers(questions: Sequence[Question], key: str) -> None:
    """Rewards either have an answer to compare with or do without one, but not row by row."""
    without = [question for question in questions if "answer" not in question.columns]
    if without and len(without) < len(questions):
        raise UserError(f"{without[0].where}: there is no answer, though other rows have one; see {key}.answer")
