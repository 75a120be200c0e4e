"""All sources together: whose turn it is, which of its questions, and the prompt that comes of it."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rl.data.config import DataConfig, SourceConfig, data_problems, source_names, sources_of
from rl.data.gym import GymSource
from rl.data.shares import Shares
from rl.data.table import TableSource
from rl.data.template import Template
from rl.data.types import Dataset, HeldOut, Listed, Longest, Source, SplitName, Supply
from rl.errors import UserError
from rollout.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Data:
    """Both splits of what a run asks. They never share a question."""

    train: Dataset
    """Has no end."""
    held_out: Dataset
    """Has `data.num_held_out` questions."""


def load_data(config: DataConfig, tokenizer: "PreTrainedTokenizerBase", seed: int) -> Data:
    """The data of a run, read and checked. Raises UserError naming the key, file and line of what cannot work."""
    opened = _open(config, tokenizer, seed)
    return Data(opened.train(), opened.held_out())


def load_held_out(config: DataConfig, tokenizer: "PreTrainedTokenizerBase", seed: int) -> Dataset:
    """The held-out questions alone, the same as in `load_data`; nothing has to be left to learn from."""
    return _open(config, tokenizer, seed).held_out()


@dataclass(frozen=True)
class _Opened:
    """The sources, and what each of them holds out."""

    names: list[str]
    sources: list[Source]
    kept: list[HeldOut]
    shares: Shares
    template: Template

    def train(self) -> "_Mixture":
        # Without what any source holds out, because a question of one may be in another as well.
        excluded = frozenset().union(*(kept.keys for kept in self.kept))
        return self._mixture("train", [source.train(excluded) for source in self.sources])

    def held_out(self) -> "_Mixture":
        supplies = [Listed(kept.questions) for kept in self.kept]
        return self._mixture("held_out", supplies, end=sum(len(kept.questions) for kept in self.kept))

    def _mixture(self, split: SplitName, supplies: Sequence[Supply], end: int | None = None) -> "_Mixture":
        # Where there is but one source, its name goes without saying.
        prefixes = [split] if len(self.names) == 1 else [f"{split}/{name}" for name in self.names]
        return _Mixture(dict(zip(prefixes, supplies, strict=True)), self.shares, self.template, end)


def _open(config: DataConfig, tokenizer: "PreTrainedTokenizerBase", seed: int) -> _Opened:
    _check(config)
    template = Template(config, tokenizer)
    entries = sources_of(config)
    shares = Shares([entry.weight for entry in entries.values()], seed)
    sources = [_source(entry, key, _seed(seed, place)) for place, (key, entry) in enumerate(entries.items())]
    counts = shares.counts(config.num_held_out)
    kept = [source.held_out(count) for source, count in zip(sources, counts, strict=True)]
    return _Opened(source_names(config), sources, kept, shares, template)


class _Mixture:
    """The prompts of one split."""

    def __init__(self, supplies: Mapping[str, Supply], shares: Shares, template: Template, end: int | None) -> None:
        """`supplies` by what their prompts' ids begin with, in the order of the shares; `end` prompts in all."""
        self._prefixes, self._supplies = list(supplies), list(supplies.values())
        self._shares, self._template, self._end = shares, template, end

    def batch(self, cursor: int, size: int) -> list[Prompt]:
        """Prompts `cursor` to `cursor + size`. Raises UserError past the end of the held-out questions."""
        if self._end is not None and cursor + size > self._end:
            raise UserError(
                f"there are {self._end} held-out questions, asked for number {cursor + size}; raise data.num_held_out"
            )
        return [self._prompt(position) for position in range(cursor, cursor + size)]

    def key(self, cursor: int) -> str:
        """That of the question which prompt `cursor` asks."""
        place, at = self._shares.locate(cursor)
        return self._supplies[place].at(at)[1].key

    @functools.cached_property
    def longest(self) -> Longest | None:
        """The longest prompt of the sources that have an end; the first call tokenizes all of theirs."""
        finite = (question for supply in self._supplies for question in supply.questions or ())
        lengths = (Longest(len(self._template.token_ids(question)), question.where) for question in finite)
        return max(lengths, key=lambda longest: longest.num_tokens, default=None)

    @property
    def digest(self) -> str | None:
        """sha256 hex over text and columns of all questions of the sources that have an end; None where none has."""
        finite = [supply.questions for supply in self._supplies if supply.questions is not None]
        if not finite:
            return None
        digest = hashlib.sha256()
        for question in (question for questions in finite for question in questions):
            messages = [[message.role, message.content] for message in question.messages]
            digest.update(json.dumps([messages, _plain(question.columns)], sort_keys=True).encode() + b"\n")
        return digest.hexdigest()

    def _prompt(self, position: int) -> Prompt:
        place, at = self._shares.locate(position)
        epoch, question = self._supplies[place].at(at)
        return Prompt(
            id=f"{self._prefixes[place]}/{epoch}/{question.index}",
            text=self._template.text(question),
            token_ids=self._template.token_ids(question),
            columns=question.columns,
        )


def _plain(value: object) -> object:
    """`value` as JSON can hold it; of what it cannot, only the type, because an object's text may hold its address."""
    if isinstance(value, Mapping):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value if isinstance(value, str | int | float | None) else type(value).__name__


def _source(source: SourceConfig, key: str, seed: str) -> Source:
    if source.kind == "task":
        return GymSource(source.task, source.params, key, seed)
    return TableSource(source, key, seed)


def _seed(seed: int, place: int) -> str:
    """The seed of the source at `place`: two sources of the same task must not ask the same questions."""
    return f"{seed}/{place}" if place else f"{seed}"


def _check(config: DataConfig) -> None:
    problems = list(data_problems(config))
    if config.num_prompts < 1:
        problems.append(f"data.num_prompts must be at least 1, got {config.num_prompts}")
    if config.num_held_out < 0:
        problems.append(f"data.num_held_out must be 0 or more, got {config.num_held_out}")
    if problems:
        raise UserError("\n".join(problems))
