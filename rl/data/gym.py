"""reasoning-gym tasks: endless sources, whose questions are made and not read."""

import functools
import hashlib
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from types import ModuleType
from typing import Any

from reward.reasoning_gym import load_reasoning_gym
from rl.data.nearest import nearest
from rl.data.types import HeldOut, Message, Question, SplitName
from rl.errors import UserError

_CHUNK = 1000
"""Questions drawn from one reasoning-gym seed; some tasks prepare all of theirs at once, so it is bounded."""
_MAX_DRAWS = 200
"""Draws per question wanted, before a task counts as having too few different questions."""
_ORDERED_BY_HASH = frozenset(
    ("isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder")
)
"""Tasks of reasoning-gym 0.1.25 that walk over sets of text: the order is another in every process, and with it the
questions or their answers, unless Python's hash seed is fixed."""


class GymSource:
    """Questions of one reasoning-gym task.

    The held-out ones are drawn first, and training draws again wherever it meets a question that is held out.
    """

    def __init__(self, task: str, params: Mapping[str, Any], key: str, seed: str) -> None:
        """`key` is what the source stands under in the config. Raises UserError where task or parameters are wrong."""
        _check(task, params, key)
        self._key, self._task = key, _Task(task, params, seed)

    def held_out(self, num: int) -> HeldOut:
        """The first `num` different questions of a stream that training does not draw from."""
        found: dict[str, Mapping[str, Any]] = {}
        for entry in self._task.first("held_out", num * _MAX_DRAWS):
            if len(found) == num:
                break
            found.setdefault(entry["question"], entry)
        if len(found) < num:
            raise UserError(_too_few(self._task.name, f"to hold {num} out, there are {len(found)}", self._key))
        questions = tuple(self._task.question(i, entry) for i, entry in enumerate(found.values()))
        return HeldOut(questions, frozenset(question.key for question in questions))

    def train(self, excluded: frozenset[str]) -> "Endless":
        """Questions whose key is not `excluded`. By design nothing repeats, so that all are of epoch 0."""
        supply = Endless(self._task, excluded, self._key)
        supply.at(0)  # raises now, not in the middle of a run, where nothing is left to learn from
        return supply


class Endless:
    """A task's questions to learn from."""

    questions = None

    def __init__(self, task: "_Task", excluded: frozenset[str], key: str) -> None:
        self._task, self._excluded, self._key = task, excluded, key

    def at(self, position: int) -> tuple[int, Question]:
        """Epoch, always 0, and question there."""
        for draw in range(_MAX_DRAWS):
            question = self._task.question(position, self._task.entry("train", position, draw))
            if question.key not in self._excluded:
                return 0, question
        raise UserError(_too_few(self._task.name, "to leave one to learn from", self._key))


class _Task:
    """An endless supply of one task's entries, addressed by split, position and draw."""

    def __init__(self, name: str, params: Mapping[str, Any], seed: str) -> None:
        self.name, self._params, self._seed = name, params, seed
        self._chunk = functools.lru_cache(maxsize=16)(self._make_chunk)

    def entry(self, split: SplitName, position: int, draw: int = 0) -> Mapping[str, Any]:
        """The entry there; a pure function of the arguments and the seed."""
        chunk, index = self._chunk(split, position // _CHUNK, draw), position % _CHUNK
        with _global_random(f"{chunk.seed}/{index}"):
            entry: Mapping[str, Any] = chunk[index]
        return entry

    def first(self, split: SplitName, num: int) -> Iterator[Mapping[str, Any]]:
        """The first `num` entries, made as they are asked for."""
        return (self.entry(split, position) for position in range(num))

    def question(self, index: int, entry: Mapping[str, Any]) -> Question:
        """The entry as a question; its columns are what the task's own scorer needs."""
        columns = {"task": self.name, "params": self._params, "entry": entry, "answer": entry["answer"]}
        return Question(index, f"{self.name}, question {index}", (Message("user", entry["question"]),), columns)

    def _make_chunk(self, split: SplitName, chunk: int, draw: int) -> Any:
        # reasoning-gym makes question i of seed s from Random(s + i), so neighbouring seeds repeat each other's
        # questions; hashed seeds are far apart.
        key = f"{self._seed}/{split}/{chunk}/{draw}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:4], "big")
        return load_reasoning_gym().create_dataset(self.name, **self._params, seed=seed, size=_CHUNK)


@contextmanager
def _global_random(seed: str) -> Iterator[None]:
    """Python's own generator under a seed, and put back afterwards.

    Upstream: reasoning_gym.induction.list_functions.generators (0.1.25) draws from it beside the generator it is given,
    so that its questions would depend on whatever else was drawn before. Remove when it does not.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _too_few(task: str, purpose: str, key: str) -> str:
    return (
        f"task {task} with these parameters has too few different questions {purpose}; "
        f"lower data.num_held_out or widen {key}.params"
    )


def _check(task: str, params: Mapping[str, Any], key: str) -> None:
    gym = load_reasoning_gym()
    known = gym.factory.DATASETS
    if task not in known:
        raise UserError(f"{key}.task must be a reasoning-gym task, got {task!r}{nearest(task, known)}")
    if task in _ORDERED_BY_HASH and _hashes_are_random():
        raise UserError(
            f"{key}.task {task} does not ask the same again in another process, so that a run could not be resumed, "
            "unless Python's hash seed is fixed; start with PYTHONHASHSEED=0 in the environment"
        )
    _check_params(gym, task, params, key)


def _hashes_are_random() -> bool:
    """True unless this process was started with PYTHONHASHSEED=0."""
    return bool(sys.flags.hash_randomization)


def _check_params(gym: ModuleType, task: str, params: Mapping[str, Any], key: str) -> None:
    known = [item.name for item in fields(gym.factory.DATASETS[task][1]) if item.name not in ("seed", "size")]
    for name in params:
        if name in ("seed", "size"):
            raise UserError(f"{key}.params may not set {name}, which follows from the run's own; take it out")
        if name not in known:
            raise UserError(
                f"{key}.params: task {task} has no parameter {name!r}{nearest(name, known)}; it has {', '.join(known)}"
            )
    try:
        gym.create_dataset(task, **params)[0]  # some tasks notice only now that they lack something
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"task {task} refuses {key}.params {dict(params)}: {error}") from error
    except ImportError as error:
        raise UserError(f"{key}.task {task} cannot be used here: {error}") from error
