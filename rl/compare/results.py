"""What an arm left on one task, read back from its sample folder (`rl.sample.folder` says what lies there)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.errors import UserError
from rl.sample.folder import QuestionSamples, SampleFolder


@dataclass(frozen=True)
class ArmSamples:
    """All that is known of one arm on one task."""

    questions: tuple[QuestionSamples, ...]
    """In question order; the same prompts in every arm of a task."""
    method: str
    policy: str
    """Digest of the weights that sampled."""
    wall_s: float
    acceptance_rate: float | None
    """Of proposals, where the method makes any."""
    recurrence: float | None = None
    """How often the core of its model was run; None for a model without one."""
    flops_per_token: float | None = None
    """Of its model's forward pass; None where the sampling did not say."""
    realised_success: Mapping[str, Any] | None = None
    """Where the method draws until it should have a right answer: `rl.sample.realised`."""


def read_samples(path: Path) -> ArmSamples:
    """What lies in the sample folder at `path`. Raises UserError naming the file, the line and what is wrong there."""
    folder = SampleFolder(path)
    if not folder.is_complete:
        raise UserError(f"{path} has no summary.json, so its sampling has not ended; run the comparison again")
    summary = _summary(folder.summary_path)
    questions = tuple(folder.questions())
    if len(questions) != summary["num_questions"]:
        raise UserError(
            f"{folder.samples_path} has {len(questions)} lines, and summary.json beside it says "
            f"{summary['num_questions']} questions; remove {path} and run the comparison again"
        )
    return ArmSamples(
        questions,
        method=str(summary["method"]),
        policy=str(summary["policy"]),
        wall_s=float(summary["wall_s"]),
        acceptance_rate=_optional_float(summary.get("acceptance_rate")),
        recurrence=summary.get("recurrence"),
        flops_per_token=summary.get("flops_per_token"),
        realised_success=summary.get("realised_success"),
    )


def require_same_questions(samples: Mapping[str, ArmSamples], task: str) -> None:
    """Nothing; raises UserError naming the first arm, of those by name, that was asked something else on `task`."""
    names = list(samples)
    asked = [question.prompt_id for question in samples[names[0]].questions]
    for name in names[1:]:
        others = [question.prompt_id for question in samples[name].questions]
        if others != asked:
            raise UserError(
                f"task {task}: arms {names[0]} and {name} were not asked the same questions "
                f"({_first_difference(asked, others)}); remove the folder of the one that is out of date"
            )


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
        missing = [name for name in ("method", "policy", "wall_s", "num_questions") if name not in summary]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not JSON ({error}); remove the folder and run the comparison again") from error
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; remove the folder and run the comparison again")
    return summary


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _first_difference(asked: Sequence[str], others: Sequence[str]) -> str:
    for place, (one, other) in enumerate(zip(asked, others, strict=False)):
        if one != other:
            return f"question {place} is {one} in the one and {other} in the other"
    return f"{len(asked)} questions in the one and {len(others)} in the other"
