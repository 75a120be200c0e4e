"""What is drawn for a reward model, and how it lies in `data/` of the run's folder.

data/config.yaml      what decides the draws
data/questions.jsonl  a line a question, in order: the same bytes on any number of actors, whatever was interrupted
data/effort.jsonl     a line a chunk of questions: how long it took
data/parts.json       which questions train, calibrate and test
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from rl.contract.recorded import ALLOW_CHANGE, ContractChanged, RunContract
from rl.durable import append_line, committed_lines, cut_uncommitted, naming, write_atomically
from rl.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trajectory:
    """One solution of a question."""

    token_ids: tuple[int, ...]
    has_ended: bool
    """Whether its last token is a stop token."""
    reward: float | None
    """None where it has not ended."""
    ends: tuple[int, ...]
    """Tokens in front of each place that is read: 0, then after every step, ascending."""

    def is_final(self, end: int) -> bool:
        """Whether the place is the end of a finished solution, whose outcome is certain."""
        return self.has_ended and end == len(self.token_ids)


@dataclass(frozen=True)
class Prefix:
    """What was drawn behind one prefix: every rollout, in the order of its draws."""

    trajectory: int
    """The first trajectory that begins with it."""
    end: int
    """Its number of tokens."""
    rewards: tuple[float | None, ...]
    """One a rollout; None where it has not ended within the length that a solution may have."""
    num_tokens: tuple[int, ...]
    """Drawn for each rollout."""
    tokens: str
    """sha256 hex over the tokens of all rollouts."""

    def num_successes(self, num_rollouts: int, success_at: float) -> int:
        """Among the first `num_rollouts`. One that has not ended is a failure."""
        return sum(reward is not None and reward >= success_at for reward in self.rewards[:num_rollouts])


@dataclass(frozen=True)
class QuestionData:
    """A line of `questions.jsonl`."""

    prompt_id: str
    prompt_token_ids: tuple[int, ...]
    trajectories: tuple[Trajectory, ...]
    prefixes: tuple[Prefix, ...]
    """The different prefixes at which a trajectory is read, finished solutions left out."""

    @property
    def num_drawn(self) -> int:
        """Tokens that were drawn for it."""
        return sum(len(t.token_ids) for t in self.trajectories) + sum(sum(p.num_tokens) for p in self.prefixes)

    def prefix_at(self) -> dict[tuple[int, ...], Prefix]:
        """The prefixes by their tokens."""
        return {self.trajectories[p.trajectory].token_ids[: p.end]: p for p in self.prefixes}

    def to_line(self) -> str:
        """As JSON, in which every float reads back as itself."""
        return json.dumps(asdict(self), separators=(",", ":"))


def parse_line(line: str) -> QuestionData:
    """A line of `questions.jsonl`. Raises ValueError, KeyError or TypeError where it is none."""
    fields = json.loads(line)
    return QuestionData(
        fields["prompt_id"],
        tuple(fields["prompt_token_ids"]),
        tuple(Trajectory(**_tuples(entry)) for entry in fields["trajectories"]),
        tuple(Prefix(**_tuples(entry)) for entry in fields["prefixes"]),
    )


class DataFolder:
    """The files of what was drawn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.yaml"
        self.questions_path = path / "questions.jsonl"
        self.effort_path = path / "effort.jsonl"
        self.parts_path = path / "parts.json"

    def open(self, deciding: Mapping[str, Any], allow_change: bool = False) -> int:
        """How many questions are done.

        deciding: what decides the draws, in plain parts. Raises ContractChanged where others decided those that are
        done, unless `allow_change`.
        """
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        cut_uncommitted(self.questions_path)
        cut_uncommitted(self.effort_path)
        num_done = len(committed_lines(self.questions_path))
        if num_done:
            self._require_same(deciding, allow_change)
        else:
            self.effort_path.unlink(missing_ok=True)
            write_atomically(self.config_path, yaml.safe_dump(dict(deciding), sort_keys=False))
        return num_done

    def append(self, question: QuestionData) -> None:
        """Nothing; the question is on the disk when this returns."""
        append_line(self.questions_path, question.to_line(), sync=True)

    def append_effort(self, num_questions: int, wall_s: float) -> None:
        """Nothing; notes the seconds that the last `num_questions` took."""
        append_line(self.effort_path, json.dumps({"num_questions": num_questions, "wall_s": wall_s}))

    def wall_s(self) -> float:
        """Seconds that the drawing took; what was lost in a crash is not in it."""
        return sum(json.loads(line)["wall_s"] for line in committed_lines(self.effort_path))

    def questions(self) -> list[QuestionData]:
        """Every question, in order. Raises UserError naming a line that was not written here."""
        return [self._parsed(number, line) for number, line in enumerate(committed_lines(self.questions_path), start=1)]

    def write_parts(self, parts: Mapping[str, tuple[str, ...]]) -> None:
        """Nothing; notes which questions train, calibrate and test."""
        write_atomically(self.parts_path, json.dumps(dict(parts), indent=1) + "\n")

    def _require_same(self, deciding: Mapping[str, Any], allow_change: bool) -> None:
        recorded = yaml.safe_load(self.config_path.read_text("utf-8")) if self.config_path.is_file() else {}
        changes = "; ".join(RunContract(recorded).changes(RunContract(deciding)))
        if changes and not allow_change:
            raise ContractChanged(
                f"{self.path} holds rollouts that were drawn otherwise: {changes}; put back what was changed, give "
                f"another folder with run.dir=…, or go on all the same with `zerokl resume` and {ALLOW_CHANGE}"
            )
        if changes:
            logger.warning("%s holds rollouts that were drawn otherwise: %s", self.path, changes)

    def _parsed(self, number: int, line: str) -> QuestionData:
        try:
            return parse_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.questions_path}, line {number}: not what was written there ({type(error).__name__}: {error}); "
                f"remove {self.path} and start again"
            ) from error


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
