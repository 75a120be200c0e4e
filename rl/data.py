"""Prompts to learn from and to be measured on: each batch is a pure function of the seed and the cursor."""

import difflib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from reward.reasoning_gym import load_reasoning_gym
from rollout.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Split = Literal["train", "held_out"]

_CHUNK = 1000
"""Questions drawn from one reasoning-gym seed; some tasks prepare all of theirs at once, so it is bounded."""
_MAX_DRAWS = 200
"""Draws per question wanted, before a task counts as having too few different questions."""


@dataclass
class DataConfig:
    """`data:` in a config."""

    task: str = "chain_sum"
    """A reasoning-gym task."""
    params: dict[str, Any] = field(default_factory=dict)
    """The task's own parameters, such as `{min_terms: 2, max_terms: 2}`."""
    num_prompts: int = 16
    """Prompts per step."""
    num_held_out: int = 256
    """Questions kept for evaluation; training never sees them."""
    system_prompt: str = ""
    """Empty: none is added, though a chat template may bring its own."""
    chat: bool = True
    """Format the question with the model's chat template."""
    suffix: str = ""
    """Appended to every question."""


class Dataset(Protocol):
    """Where prompts come from."""

    def batch(self, cursor: int, size: int) -> list[Prompt]:
        """Prompts `cursor` to `cursor + size` of this split: the same for the same seed, whatever was asked before."""
        ...


class ReasoningGymDataset:
    """Questions of one reasoning-gym task. "train" has no end; "held_out" has `config.num_held_out` questions.

    The two splits never share a question: the held-out ones are drawn first, and training draws again wherever it
    meets one of them. Prompt ids read `train/0/17`: split, epoch (always 0: nothing repeats by design), position.
    """

    def __init__(self, config: DataConfig, tokenizer: "PreTrainedTokenizerBase", seed: int, split: Split) -> None:
        """Raises ValueError where the task, its parameters or the chat setting cannot work."""
        _check(config, tokenizer)
        self._config, self._tokenizer, self._split = config, tokenizer, split
        self._source = _Source(config.task, config.params, seed)
        self._held_out = self._source.distinct("held_out", config.num_held_out)
        self._excluded = frozenset(entry["question"] for entry in self._held_out)
        self._training_entry(0)  # raises now, not in the middle of a run, where nothing is left to learn from

    def batch(self, cursor: int, size: int) -> list[Prompt]:
        """Prompts `cursor` to `cursor + size`. Raises ValueError past the end of the held-out questions."""
        if self._split == "held_out" and cursor + size > len(self._held_out):
            raise ValueError(
                f"there are {len(self._held_out)} held-out questions, asked for number {cursor + size}; "
                "raise data.num_held_out"
            )
        return [self._prompt(position) for position in range(cursor, cursor + size)]

    def _prompt(self, position: int) -> Prompt:
        entry = self._held_out[position] if self._split == "held_out" else self._training_entry(position)
        text = entry["question"] + self._config.suffix
        columns = {"task": self._config.task, "params": self._config.params, "entry": entry, "answer": entry["answer"]}
        return Prompt(f"{self._split}/0/{position}", text, self._token_ids(text), columns)

    def _training_entry(self, position: int) -> Mapping[str, Any]:
        for draw in range(_MAX_DRAWS):
            entry = self._source.entry("train", position, draw)
            if entry["question"] not in self._excluded:
                return entry
        raise ValueError(_too_few(self._config.task, len(self._held_out)))

    def _token_ids(self, text: str) -> tuple[int, ...]:
        if not self._config.chat:
            return tuple(self._tokenizer.encode(self._config.system_prompt + text))
        messages = [{"role": "user", "content": text}]
        if self._config.system_prompt:
            messages.insert(0, {"role": "system", "content": self._config.system_prompt})
        ids: Any = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return tuple(ids)


class _Source:
    """An endless supply of one task's entries, addressed by split, position and draw."""

    def __init__(self, task: str, params: Mapping[str, Any], seed: int) -> None:
        self._task, self._params, self._seed = task, params, seed
        self._chunk = functools.lru_cache(maxsize=16)(self._make_chunk)

    def entry(self, split: Split, position: int, draw: int = 0) -> Mapping[str, Any]:
        """The entry there; a pure function of the arguments and the seed."""
        entry: Mapping[str, Any] = self._chunk(split, position // _CHUNK, draw)[position % _CHUNK]
        return entry

    def distinct(self, split: Split, num: int) -> list[Mapping[str, Any]]:
        """The first `num` entries whose questions all differ."""
        found: dict[str, Mapping[str, Any]] = {}
        for entry in self._first(split, num * _MAX_DRAWS):
            if len(found) == num:
                break
            found.setdefault(entry["question"], entry)
        if len(found) < num:
            raise ValueError(_too_few(self._task, num))
        return list(found.values())

    def _first(self, split: Split, num: int) -> Iterator[Mapping[str, Any]]:
        return (self.entry(split, position) for position in range(num))

    def _make_chunk(self, split: Split, chunk: int, draw: int) -> Any:
        # reasoning-gym makes question i of seed s from Random(s + i), so neighbouring seeds repeat each other's
        # questions; hashed seeds are far apart.
        key = f"{self._seed}/{split}/{chunk}/{draw}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:4], "big")
        return load_reasoning_gym().create_dataset(self._task, **self._params, seed=seed, size=_CHUNK)


def _too_few(task: str, num_held_out: int) -> str:
    return (
        f"task {task} with these parameters has too few different questions to hold out {num_held_out}; "
        "lower data.num_held_out or widen data.params"
    )


def _check(config: DataConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
    if config.chat and not tokenizer.chat_template:
        raise ValueError("data.chat=true needs a model with a chat template, this one has none; set data.chat=false")
    for name in ("num_prompts", "num_held_out"):
        if getattr(config, name) < 1:
            raise ValueError(f"data.{name} must be at least 1, got {getattr(config, name)}")
    gym = load_reasoning_gym()
    _check_task(gym, config.task)
    _check_params(gym, config.task, config.params)


def _check_task(gym: ModuleType, task: str) -> None:
    if task not in gym.factory.DATASETS:
        raise ValueError(
            f"data.task must be a reasoning-gym task, got {task!r}{_nearest(task, list(gym.factory.DATASETS))}"
        )


def _check_params(gym: ModuleType, task: str, params: Mapping[str, Any]) -> None:
    known = [item.name for item in fields(gym.factory.DATASETS[task][1]) if item.name not in ("seed", "size")]
    for name in params:
        if name in ("seed", "size"):
            raise ValueError(f"data.params may not set {name}, which follows from the run's own; take it out")
        if name not in known:
            raise ValueError(f"task {task} has no parameter {name!r}{_nearest(name, known)}; it has {', '.join(known)}")
    try:
        gym.create_dataset(task, **params)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"task {task} refuses data.params {dict(params)}: {error}") from error


def _nearest(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {matches[0]!r}?" if matches else ""
