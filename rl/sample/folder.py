"""What a sampling leaves, and how it goes on where it was interrupted.

config.yaml      the resolved config
origin.json      digests of what the samples were drawn from: model, PRM, questions
samples.jsonl    a line a question, in order: the same bytes on any number of actors
effort.jsonl     a line a chunk of questions: how long it took and how busy the engines were
summary.json     figures over all questions; there when the sampling has ended
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rl.durable import append_line, committed_lines, cut_uncommitted, naming, write_atomically
from rl.errors import UserError

DECIDING_OF_ROLLOUT = ("exact", "max_model_len")
"""Keys of `rollout` that a sampling's tokens may depend on."""


@dataclass(frozen=True)
class Settings:
    """What decides the lines of a sampling."""

    config: str
    """The resolved config, as YAML."""
    origin: Mapping[str, Any]
    """What lies behind the paths in it, by content (`rl.sample.origin`); JSON can hold it."""


@dataclass(frozen=True)
class Candidate:
    """A completion that a method looked at in the end."""

    token_ids: tuple[int, ...]
    text: str
    answer: str | None
    """What was read in it, in a form in which equal answers are equal texts; None where nothing could be."""
    correct: bool
    truncated: bool
    """Whether the limit on tokens cut it off."""
    base_logprob: float | None
    """Log-probability of the completion under the base model at temperature 1, nats; None for one not returned."""
    stopped: bool = False
    """Whether the method gave it up before it had ended."""


@dataclass(frozen=True)
class QuestionSamples:
    """A line of `samples.jsonl`."""

    prompt_id: str
    candidates: tuple[Candidate, ...]
    returned: tuple[int, ...]
    """Those of the candidates that the method answers with."""
    sampled_tokens: int
    """All that were drawn, whatever became of them."""
    scored_tokens: int
    """Tokens whose log-probability was computed without drawing them."""
    recurrence: int | None = None
    """How often the core was run for the question, where `model.exit` decided it; None elsewhere."""

    @property
    def completed(self) -> tuple[Candidate, ...]:
        """The candidates that were not given up on the way; all of them where each was."""
        return tuple(candidate for candidate in self.candidates if not candidate.stopped) or self.candidates

    def to_line(self) -> str:
        """As JSON; the log-probability in hex, so that no bit is lost."""
        candidates = [_candidate_fields(candidate) for candidate in self.candidates]
        return json.dumps({**vars(self), "candidates": candidates})


@dataclass(frozen=True)
class ChunkEffort:
    """A line of `effort.jsonl`: questions that were sampled together."""

    start: int
    """The first of them."""
    num_questions: int
    wall_s: float
    """Of sampling, without grading."""
    num_proposals: int
    num_accepted: int
    in_flight: float
    """Mean number of requests that the engines were handed together."""
    normaliser_gap: float | None = None
    """Of power sampling: the largest disagreement of a proposal with its chain on a log-normaliser, nats."""


def _deciding(config_text: str) -> dict[str, Any]:
    """A sampling's config without what changes no token: where it runs, and how the work is shared out."""
    config: dict[str, Any] = yaml.safe_load(config_text) or {}
    config["rollout"] = {key: value for key, value in config.get("rollout", {}).items() if key in DECIDING_OF_ROLLOUT}
    return {key: value for key, value in config.items() if key not in ("run", "timeout_s")}


def parse_line(line: str) -> QuestionSamples:
    """A line of `samples.jsonl`. Raises ValueError, KeyError or TypeError where it is none."""
    fields = json.loads(line)
    candidates = tuple(_candidate(candidate) for candidate in fields["candidates"])
    returned = tuple(int(index) for index in fields["returned"])
    if not returned or not all(0 <= index < len(candidates) for index in returned):
        raise ValueError(f"`returned` must name some of the {len(candidates)} candidates, got {list(returned)}")
    return QuestionSamples(
        prompt_id=fields["prompt_id"],
        candidates=candidates,
        returned=returned,
        sampled_tokens=int(fields["sampled_tokens"]),
        scored_tokens=int(fields["scored_tokens"]),
        recurrence=fields.get("recurrence"),
    )


class SampleFolder:
    """The files of one sampling."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.yaml"
        self.origin_path = path / "origin.json"
        self.samples_path = path / "samples.jsonl"
        self.effort_path = path / "effort.jsonl"
        self.summary_path = path / "summary.json"

    @property
    def is_complete(self) -> bool:
        return self.summary_path.is_file()

    def open(self, settings: Settings) -> int:
        """How many questions are done. Raises UserError where samples of other settings lie, or something else does."""
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        is_begun = self.config_path.is_file() and self.origin_path.is_file()
        if not is_begun and (self.config_path.is_file() or self.samples_path.is_file()):
            raise UserError(f"{self.path} holds something else than a sampling; give another folder with run.dir=…")
        cut_uncommitted(self.samples_path)
        cut_uncommitted(self.effort_path)
        num_done = len(committed_lines(self.samples_path))
        if num_done:
            self._require_same(settings)
        else:
            write_atomically(self.origin_path, json.dumps(settings.origin, indent=2) + "\n")
            write_atomically(self.config_path, settings.config)
        return num_done

    def append(self, samples: QuestionSamples) -> None:
        """Nothing; the question is on the disk when this returns."""
        append_line(self.samples_path, samples.to_line(), sync=True)

    def questions(self) -> list[QuestionSamples]:
        """Every question, in order. Raises UserError naming a line that no sampling wrote."""
        return [self._parsed(number, line) for number, line in enumerate(committed_lines(self.samples_path), start=1)]

    def append_effort(self, effort: ChunkEffort) -> None:
        """Nothing; to be called before the chunk's first question is appended."""
        append_line(self.effort_path, json.dumps(vars(effort)))

    def efforts(self) -> list[ChunkEffort]:
        """Every chunk's effort; one that was begun, lost and done again counts once."""
        lines = (ChunkEffort(**json.loads(line)) for line in committed_lines(self.effort_path))
        return list({effort.start: effort for effort in lines}.values())

    def summary(self) -> dict[str, Any]:
        """That of a sampling that has ended."""
        found: dict[str, Any] = json.loads(self.summary_path.read_text())
        return found

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Nothing; with it the sampling has ended."""
        write_atomically(self.summary_path, json.dumps(summary, indent=2) + "\n")

    def _require_same(self, settings: Settings) -> None:
        if _deciding(self.config_path.read_text()) != _deciding(settings.config):
            raise UserError(
                f"{self.path} holds samples of another config ({self.config_path}); give another folder with run.dir=…"
            )
        recorded = json.loads(self.origin_path.read_text())
        if differing := [name for name, origin in settings.origin.items() if recorded.get(name) != origin]:
            raise UserError(
                f"{self.path} holds samples that were drawn from something else: {' and '.join(differing)} changed "
                f"since; remove it, or give another folder with run.dir=…"
            )

    def _parsed(self, number: int, line: str) -> QuestionSamples:
        try:
            return parse_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.samples_path}, line {number}: not what a sampling writes ({type(error).__name__}: {error}); "
                f"remove {self.path} and sample again"
            ) from error


def _candidate(fields: Mapping[str, Any]) -> Candidate:
    logprob = fields["base_logprob"]
    return Candidate(
        token_ids=tuple(fields["token_ids"]),
        text=fields["text"],
        answer=fields["answer"],
        correct=bool(fields["correct"]),
        truncated=bool(fields["truncated"]),
        base_logprob=None if logprob is None else float.fromhex(logprob),
        stopped=bool(fields["stopped"]),
    )


def _candidate_fields(candidate: Candidate) -> dict[str, Any]:
    logprob = candidate.base_logprob
    return {**vars(candidate), "base_logprob": None if logprob is None else logprob.hex()}
