"""What a sampling came to, over all questions."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from rl.evaluation.passk import mean_over_questions, pass_at_k
from rl.recurrent.flops import Cost
from rl.sample.config import SampleConfig, method_of
from rl.sample.folder import QuestionSamples, SampleFolder
from rl.sample.realised import realised_success, render_realised


def summarize(folder: SampleFolder, config: SampleConfig, policy: str, cost: Cost) -> dict[str, Any]:
    """The figures of a finished sampling, as they go into `summary.json`.

    policy: digest of the weights; cost: of a token.
    """
    questions, efforts = folder.questions(), folder.efforts()
    answers = [[question.candidates[index] for index in question.returned] for question in questions]
    candidates = [candidate for question in questions for candidate in question.completed]
    accuracy = mean_over_questions([statistics.fmean(a.correct for a in own) for own in answers])
    proposals = sum(effort.num_proposals for effort in efforts)
    in_flight = [effort.in_flight for effort in efforts if math.isfinite(effort.in_flight)]
    return {
        "method": config.method,
        "model": config.model.path,
        "policy": policy,
        **_cost_fields(questions, cost),
        "num_questions": len(questions),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "pass_at_k": _pass_at_k(questions),
        "parse_rate": statistics.fmean(candidate.answer is not None for candidate in candidates),
        "truncation_rate": statistics.fmean(candidate.truncated for candidate in candidates),
        "sampled_tokens": sum(question.sampled_tokens for question in questions),
        "returned_tokens": sum(len(answer.token_ids) for own in answers for answer in own),
        "scored_tokens": sum(question.scored_tokens for question in questions),
        "acceptance_rate": sum(effort.num_accepted for effort in efforts) / proposals if proposals else None,
        "normaliser_gap": max((e.normaliser_gap for e in efforts if e.normaliser_gap is not None), default=None),
        "mean_in_flight": statistics.fmean(in_flight) if in_flight else None,
        "realised_success": realised_success(method_of(config).search, questions),
        "wall_s": sum(effort.wall_s for effort in efforts),
    }


def render(summary: dict[str, Any]) -> str:
    """The summary as aligned plain text, without a newline at its end."""
    percent = 100 * summary["accuracy"]
    low, high = 100 * summary["accuracy_low"], 100 * summary["accuracy_high"]
    tokens_per_s = summary["sampled_tokens"] / max(summary["wall_s"], 1e-9)
    rows = [
        ("method", f"{summary['method']} on {summary['model']}, policy {summary['policy']}"),
        ("accuracy", f"{percent:.1f} %  (95 % interval {low:.1f} to {high:.1f}, {summary['num_questions']} questions)"),
        *[(f"pass@{k}", f"{100 * value:.1f} %") for k, value in summary["pass_at_k"].items() if k != "1"],
        ("answers read", f"{100 * summary['parse_rate']:.1f} %"),
        ("truncated", f"{100 * summary['truncation_rate']:.1f} %"),
        ("tokens sampled", f"{summary['sampled_tokens']:,} at {tokens_per_s:,.0f} tok/s"),
        ("tokens returned", f"{summary['returned_tokens']:,}"),
        ("a token takes", _cost(summary)),
        *_optional(summary),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _cost_fields(questions: Sequence[QuestionSamples], cost: Cost) -> dict[str, float | None]:
    """Depth and price of a token: the mean over tokens where each question went as deep as it had to."""
    if cost.recurrence is None:
        return {"recurrence": None, "flops_per_token": cost.flops_per_token}
    depths = [(cost.recurrence if q.recurrence is None else q.recurrence, q.sampled_tokens) for q in questions]
    num_tokens = sum(tokens for _, tokens in depths)
    return {
        "recurrence": sum(depth * tokens for depth, tokens in depths) / num_tokens,
        "flops_per_token": sum(cost.at(depth) * tokens for depth, tokens in depths) / num_tokens,
    }


def _cost(summary: dict[str, Any]) -> str:
    depth = "" if summary["recurrence"] is None else f" at recurrence {summary['recurrence']:.3g}"
    return f"{summary['flops_per_token']:.3g} FLOPs{depth}"


def _optional(summary: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if summary["scored_tokens"]:
        rows.append(("tokens scored", f"{summary['scored_tokens']:,}"))
    if summary["realised_success"] is not None:
        rows.append(("right among the candidates", render_realised(summary["realised_success"])))
    if summary["acceptance_rate"] is not None:
        rows.append(("proposals accepted", f"{100 * summary['acceptance_rate']:.1f} %"))
    if summary["normaliser_gap"] is not None:
        rows.append(("p and q agree to", f"{summary['normaliser_gap']:.1g} nats"))
    if summary["mean_in_flight"] is not None:
        rows.append(("in flight", f"{summary['mean_in_flight']:.0f} requests at once, on average"))
    return rows


def _pass_at_k(questions: Sequence[QuestionSamples]) -> dict[str, float]:
    """By k, powers of two up to the number of answers to a question."""
    num_answers = min(len(question.returned) for question in questions)
    counts = [sum(q.candidates[index].correct for index in q.returned) for q in questions]
    ks = [2**power for power in range(num_answers.bit_length())]
    return {str(k): statistics.fmean(pass_at_k(num_answers, count, k) for count in counts) for k in ks}
