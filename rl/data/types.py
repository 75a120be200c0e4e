"""What flows between the parts of the data: questions, and where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rollout.types import Prompt

SplitName = Literal["train", "held_out"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Question:
    """One question of a source, before any template."""

    index: int
    """Its number in its source, from 0: the row of a file, the position in an endless one."""
    where: str
    """Where to look it up: `sums.jsonl, line 18`."""
    messages: tuple[Message, ...]
    """At least one. A plain question is one message of the user's."""
    columns: Mapping[str, Any]
    """What its reward needs to know."""

    @property
    def text(self) -> str:
        """What was asked last: the whole of a plain question."""
        return self.messages[-1].content

    @property
    def key(self) -> str:
        """What makes it the same question as another: all its text, but for white space around each message."""
        return "\n".join(message.content.strip() for message in self.messages)


@dataclass(frozen=True)
class HeldOut:
    """What a source keeps from training."""

    questions: tuple[Question, ...]
    """All different; what a run is measured on."""
    keys: frozenset[str]
    """Keys of everything that training must not see: of `questions`, and of the rest of a held-out file."""


@dataclass(frozen=True)
class Longest:
    """The longest prompt there is."""

    num_tokens: int
    where: str


class Supply(Protocol):
    """A source's questions of one split, in order."""

    @property
    def questions(self) -> Sequence[Question] | None:
        """All there are; None where they have no end."""

    def at(self, position: int) -> tuple[int, Question]:
        """Epoch and question there: the same for the same seed, whatever was asked before."""


@dataclass(frozen=True)
class Listed:
    """A supply of questions that come once, in the order they stand."""

    questions: tuple[Question, ...]

    def at(self, position: int) -> tuple[int, Question]:
        """Epoch, always 0, and question there."""
        return 0, self.questions[position]


class Source(Protocol):
    """One entry of `data.sources`, checked and read."""

    def held_out(self, num: int) -> HeldOut:
        """`num` questions to measure on. Raises UserError where there are fewer."""

    def train(self, excluded: frozenset[str]) -> Supply:
        """The questions to learn from, without those whose key is `excluded`. Raises UserError where none is left."""


class Dataset(Protocol):
    """Where prompts come from: all sources of a split together."""

    def batch(self, cursor: int, size: int) -> list[Prompt]:
        """Prompts `cursor` to `cursor + size` of this split: the same for the same seed, whatever was asked before."""

    def key(self, cursor: int) -> str:
        """That of the question which prompt `cursor` asks."""

    @property
    def longest(self) -> Longest | None:
        """The longest prompt of those sources that have an end; None where none has one."""

    @property
    def digest(self) -> str | None:
        """sha256 hex over all questions of those sources that have an end; None where none has one."""
