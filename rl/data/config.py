"""`data:` in a config: what to ask, and how to put it."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_TASK = "chain_sum"
KINDS = ("task", "jsonl", "dataset")
_BELONGS_TO = {
    "params": ("task",),
    "config": ("dataset",),
    "split": ("dataset",),
    "held_out": ("jsonl", "dataset"),
    "prompt": ("jsonl", "dataset"),
    "answer": ("jsonl", "dataset"),
    "answer_after": ("jsonl", "dataset"),
}
"""Kinds of source that a key means something for."""


@dataclass
class SourceConfig:
    """One entry of `data.sources`: exactly one of `task`, `jsonl` and `dataset`."""

    task: str = ""
    """A reasoning-gym task."""
    jsonl: str = ""
    """A file with a JSON object a line."""
    dataset: str = ""
    """A data set on the Hugging Face hub, or a folder with one."""
    weight: float = 1.0
    """Its share of the prompts is its weight over the sum of all weights."""
    params: dict[str, Any] = field(default_factory=dict)
    """The task's own parameters, such as `{min_terms: 2, max_terms: 2}`."""
    config: str = ""
    """The data set's configuration, such as `main`; empty takes its only one."""
    split: str = "train"
    """The data set's split to learn from."""
    held_out: str = ""
    """Another file, or another split, to hold out; empty takes questions from among those to learn from."""
    prompt: str = "prompt"
    """The column with the question, a text or a list of messages; a line without it may have `messages`."""
    answer: str = "answer"
    """The column that reward functions are given as `answer`."""
    answer_after: str = ""
    """The answer is what follows the last of these in its column: `####` for GSM8K. Empty takes the column whole."""

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        """What to call it: its task, the file's name without ending, or the data set's without organisation."""
        return self.task or Path(self.jsonl).stem or Path(self.dataset).name


@dataclass
class DataConfig:
    """`data:` in a config. `task` and `params` are short for one source; `sources` has any number."""

    task: str = ""
    """A reasoning-gym task; with no `sources` either, `chain_sum`."""
    params: dict[str, Any] = field(default_factory=dict)
    """The task's own parameters, such as `{min_terms: 2, max_terms: 2}`."""
    sources: list[SourceConfig] = field(default_factory=list)
    """Where questions come from, mixed by weight."""
    num_prompts: int = 16
    """Prompts per step."""
    num_held_out: int = 256
    """Questions kept for evaluation, in the shares of the sources; training never sees them."""
    system_prompt: str = ""
    """For questions that bring none. Empty: none is added, though a chat template may bring its own."""
    chat: bool = True
    """Format the question with the model's chat template."""
    suffix: str = ""
    """Appended to every question."""


def sources_of(config: DataConfig) -> dict[str, SourceConfig]:
    """The sources by the key they stand under in the config: `data` for the short form, `data.sources.0` and on."""
    if not config.sources:
        return {"data": SourceConfig(task=with_task(config).task, params=config.params)}
    return {f"data.sources.{i}": source for i, source in enumerate(config.sources)}


def with_task(config: DataConfig) -> DataConfig:
    """`config` with the default task written out where it names no source."""
    return config if config.task or config.sources else dataclasses.replace(config, task=DEFAULT_TASK)


def source_names(config: DataConfig) -> list[str]:
    """A name for each source, all different: its own, or numbered where two would share one."""
    names = [source.name for source in sources_of(config).values()]
    return names if len(set(names)) == len(names) else [f"{i}-{name}" for i, name in enumerate(names)]


def data_problems(config: DataConfig) -> Iterator[str]:
    """What is wrong with the sources as they are written, a line each; no file is looked at."""
    if config.sources and (config.task or config.params):
        yield "data.task and data.params are short for one source, and data.sources is given too; move them into it"
    for key, source in sources_of(config).items():
        yield from _source_problems(key, source)


def _source_problems(key: str, source: SourceConfig) -> Iterator[str]:
    given = [kind for kind in KINDS if getattr(source, kind)]
    if len(given) != 1:
        yield f"{key} must have exactly one of {', '.join(KINDS)}, got {' and '.join(given) or 'none'}"
        return
    if not 0 < source.weight < math.inf:
        yield f"{key}.weight must be a number above 0, got {source.weight}; take the source out to leave it out"
    for name in _not_default(source):
        kinds = _BELONGS_TO.get(name, KINDS)
        if given[0] not in kinds:
            yield f"{key}.{name} means nothing for a {given[0]}, only for a {' or '.join(kinds)}; take it out"


def _not_default(source: SourceConfig) -> list[str]:
    plain = SourceConfig()
    return [f.name for f in dataclasses.fields(source) if getattr(source, f.name) != getattr(plain, f.name)]
