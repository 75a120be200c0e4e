"""What an evaluation found: counts by question, and what follows from them."""

import json
import statistics
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from reward.types import Reward
from rl.evaluation.passk import Estimate, estimate_pass_at_k
from rl.evaluation.settings import EvalSettings
from rollout.types import RolloutGroup


@dataclass(frozen=True)
class QuestionResult:
    """How one question went: a pure function of policy, question and seed. Neither actors nor chunks show in it."""

    prompt_id: str
    num_correct: int
    """Samples whose answer is right: `Reward.is_correct`."""
    num_truncated: int
    """Samples that were cut off by the limit on tokens."""
    num_tokens: int
    """Of all samples, stop tokens included."""
    rewards: tuple[float, ...]
    """In sample order."""

    @property
    def has_variance(self) -> bool:
        """Whether its samples earned different rewards: if not, no algorithm that compares them could learn from it."""
        return len(set(self.rewards)) > 1


@dataclass(frozen=True)
class EvalReport:
    """An evaluation that has ended."""

    settings: EvalSettings
    policy: str
    """Digest of the weights that every engine held."""
    contract: str
    """Digest of what decided the bits; empty where stock vLLM sampled."""
    questions: tuple[QuestionResult, ...]
    sampling_s: float
    """Time the engines took."""

    @cached_property
    def pass_at_k(self) -> dict[int, Estimate]:
        """pass@k by k."""
        counts = [question.num_correct for question in self.questions]
        return {k: estimate_pass_at_k(self.settings.num_samples, counts, k) for k in (1, *self.settings.ks)}

    @property
    def accuracy(self) -> Estimate:
        """The share of right samples, which is pass@1."""
        return self.pass_at_k[1]

    @property
    def num_samples(self) -> int:
        return len(self.questions) * self.settings.num_samples

    @property
    def num_tokens(self) -> int:
        return sum(question.num_tokens for question in self.questions)

    @property
    def num_truncated(self) -> int:
        return sum(question.num_truncated for question in self.questions)

    @property
    def num_without_variance(self) -> int:
        return sum(not question.has_variance for question in self.questions)

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / max(self.sampling_s, 1e-9)

    @property
    def mean_reward(self) -> float:
        return statistics.fmean(reward for question in self.questions for reward in question.rewards)


def question_result(group: RolloutGroup, rewards: tuple[Reward, ...]) -> QuestionResult:
    """What is kept of a question's samples and their rewards."""
    return QuestionResult(
        prompt_id=group.prompt.id,
        num_correct=sum(reward.is_correct for reward in rewards),
        num_truncated=sum(rollout.truncated for rollout in group.rollouts),
        num_tokens=sum(len(rollout.token_ids) for rollout in group.rollouts),
        rewards=tuple(reward.value for reward in rewards),
    )


def render_report(report: EvalReport) -> str:
    """The report as aligned plain text, without a newline at its end."""
    rows = [*_settings_rows(report), *_estimate_rows(report), *_count_rows(report)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def report_json(report: EvalReport) -> str:
    """The report as JSON: `per_question` has the same bytes however many actors sampled."""
    figures: dict[str, Any] = {
        "settings": asdict(report.settings),
        "policy": report.policy,
        "contract": report.contract,
        "accuracy": asdict(report.accuracy),
        "pass_at_k": {str(k): asdict(report.pass_at_k[k]) for k in report.settings.ks},
        "mean_reward": report.mean_reward,
        "num_samples": report.num_samples,
        "num_truncated": report.num_truncated,
        "num_questions_without_variance": report.num_without_variance,
        "num_tokens": report.num_tokens,
        "mean_length": report.num_tokens / report.num_samples,
        "sampling_s": report.sampling_s,
        "tokens_per_s": report.tokens_per_s,
        "per_question": [asdict(question) for question in report.questions],
    }
    return json.dumps(figures, indent=2) + "\n"


def _settings_rows(report: EvalReport) -> list[tuple[str, str]]:
    settings = report.settings
    samples = "sample" if settings.num_samples == 1 else "samples"
    depth = "" if settings.recurrence is None else f" at recurrence {settings.recurrence}"
    rows = [
        ("model", f"{settings.model}{depth} in {settings.dtype}, policy {report.policy}"),
        (
            "asked",
            f"{len(report.questions):,} questions of {settings.source}, {settings.num_samples} {samples} each "
            f"of at most {settings.rollout.max_new_tokens} tokens at temperature {settings.rollout.temperature:g}, "
            f"{'in the chat template' if settings.data.chat else 'as plain text'}",
        ),
    ]
    return rows if settings.rollout.exact else [*rows, ("OFF-POLICY by choice", "rollouts by stock vLLM")]


def _estimate_rows(report: EvalReport) -> list[tuple[str, str]]:
    rows = [("accuracy (pass@1)", _render(report.accuracy))]
    return rows + [(f"pass@{k}", _render(report.pass_at_k[k])) for k in report.settings.ks if k > 1]


def _render(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:5.1f} %  (95 % interval {low:.1f} to {high:.1f}, {estimate.method})"


def _count_rows(report: EvalReport) -> list[tuple[str, str]]:
    truncated = report.num_truncated / report.num_samples
    variance = ("no variance", f"{report.num_without_variance:,} of {len(report.questions):,} questions")
    return [
        ("truncated", f"{100 * truncated:5.1f} %  ({report.num_truncated:,} of {report.num_samples:,} samples)"),
        *([variance] if report.settings.num_samples > 1 else []),
        ("mean reward", f"{report.mean_reward:.3f}"),
        ("mean length", f"{report.num_tokens / report.num_samples:.1f} tokens"),
        ("tokens", f"{report.num_tokens:,} at {report.tokens_per_s:,.0f} tok/s"),
    ]
