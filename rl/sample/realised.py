"""Whether as many completions as were thought to be needed did contain a right one as often as was wanted.

For adaptive best of n (arXiv 2506.09338): over the questions whose N(p, C) is below the cap the share with at least one
right candidate should be C or more, as far as the quantile that N was taken at holds. At the cap nothing was promised.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from rl.evaluation.passk import mean_over_questions
from rl.sample.folder import QuestionSamples
from rollout.search.step_best_of import AdaptiveBestOfN
from rollout.search.types import SearchMethod


def realised_success(method: SearchMethod, questions: Sequence[QuestionSamples]) -> dict[str, Any] | None:
    """`confidence`, which was wanted, and what came of it; None for a method that wants none.

    `value`, with its 95 % interval `low` and `high`, is over the questions below the cap, `value_of_all` over all, and
    `value` is None where none is below.
    """
    if not isinstance(method, AdaptiveBestOfN):
        return None
    found = [(len(q.candidates), float(any(candidate.correct for candidate in q.candidates))) for q in questions]
    below = [success for num_candidates, success in found if num_candidates < method.num_candidates]
    estimate = mean_over_questions(below) if below else None
    return {
        "confidence": method.confidence,
        "num_below_cap": len(below),
        "num_at_cap": len(found) - len(below),
        "cap": method.num_candidates,
        "mean_candidates": statistics.fmean(num_candidates for num_candidates, _ in found),
        "value": estimate and estimate.value,
        "low": estimate and estimate.low,
        "high": estimate and estimate.high,
        "value_of_all": statistics.fmean(success for _, success in found),
    }


def render_realised(realised: dict[str, Any]) -> str:
    """In a line: `97.0 % …, 99 % wanted`."""
    num, capped = realised["num_below_cap"], realised["num_at_cap"]
    wanted = f"{100 * realised['confidence']:g} % wanted"
    if realised["value"] is None:
        return f"{wanted}; all {capped} questions were at the cap of {realised['cap']} candidates"
    low, high = 100 * realised["low"], 100 * realised["high"]
    return (
        f"{100 * realised['value']:.1f} %  (95 % interval {low:.1f} to {high:.1f}), {wanted}, over the {num} questions "
        f"below the cap of {realised['cap']} candidates; {capped} at it"
    )
