"""Did RL teach anything that sampling would not have given? One sentence a task.

(a) At no more tokens: the best sampling-only arm, against the best RL arm that draws no more tokens for an answer.
(b) Single-shot: the best plain completion of the base model (greedy, or the best of its temperatures), against RL's.

In both, an RL arm that thinks deeper than its rival, a recurrent-depth model at more operations, is left out: what
depth gave would be put down to RL.

"Best" is by accuracy on the very questions of the comparison, and a tie goes to the cheaper. Choosing after the fact
flatters the side with more to choose from: with more sampling-only arms than RL arms the gain of RL is understated.
Arms that choose with the graders themselves are not in it on either side: who asks in earnest has no right answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rl.compare.comparison import Contrast, TaskComparison
from rl.compare.measures import ArmFigures
from rl.compare.paired import Difference


@dataclass(frozen=True)
class Verdict:
    """What RL gained on one task."""

    task: TaskComparison
    equal_tokens: Contrast | None
    """None where every RL arm is dearer than the best sampling-only arm, or where nothing was trained."""
    single_shot: Contrast | None
    """None where one side has no single-shot arm."""

    @property
    def sentence(self) -> str:
        """In plain words."""
        return f"{self._place}: {'; '.join(self._clauses())}."

    @property
    def selection(self) -> str:
        """In plain words, what the choice of the best arms does to the verdict."""
        num_rl, num_sampling = len(in_earnest(self.task.trained)), len(in_earnest(self.task.sampling_only))
        left_out = [figures.arm.name for figures in self.task.figures if figures.arm.sees_answers]
        return (
            f"Each side's best arm was chosen by its accuracy on these questions, from "
            f"{_count(num_sampling, 'sampling-only')} and {_count(num_rl, 'RL')}; such a choice flatters the side with "
            "more to choose from." + (f" Not counted, for the grader chose: {', '.join(left_out)}." if left_out else "")
        )

    @property
    def _place(self) -> str:
        return f"{self.task.name} ({'in-domain' if self.task.in_domain else 'out-of-domain'})"

    def _clauses(self) -> list[str]:
        if not in_earnest(self.task.trained):
            return [f"no RL arm; the best sampling-only arm is {_name(best(in_earnest(self.task.sampling_only)))}"]
        if self.equal_tokens and self.single_shot and _is_same(self.equal_tokens, self.single_shot):
            return [f"at no more tokens and single-shot alike {_gain(self.equal_tokens, 'the best sampling-only arm')}"]
        return [_equal_tokens_clause(self), _single_shot_clause(self)]


def judge(task: TaskComparison) -> Verdict:
    """The verdict on one task."""
    trained, sampling_only = in_earnest(task.trained), in_earnest(task.sampling_only)
    rival = best(sampling_only)
    affordable = [arm for arm in trained if arm.tokens_per_answer <= rival.tokens_per_answer]
    plain, plain_rivals = ([arm for arm in side if arm.arm.is_single_shot] for side in (trained, sampling_only))
    return Verdict(task, _contrast(task, affordable, [rival]), _contrast(task, plain, plain_rivals))


def in_earnest(figures: Sequence[ArmFigures]) -> list[ArmFigures]:
    """Those that do not choose by the right answer. The base arm is one, so that of sampling-only arms there is one."""
    return [arm for arm in figures if not arm.arm.sees_answers]


def best(figures: Sequence[ArmFigures]) -> ArmFigures:
    """The most accurate; of equals the cheaper, then the first."""
    return max(figures, key=lambda arm: (arm.accuracy.value, -arm.tokens_per_answer))


def render_difference(difference: Difference) -> str:
    """As `+12.0 points (95 % interval +6.1 to +18.2)`."""
    low, high = points(difference.low), points(difference.high)
    return f"{points(difference.value)} points (95 % interval {low} to {high})"


def points(share: float) -> str:
    """A difference of shares in points of percent, with its sign; no minus before zero.

    >>> points(0.125), points(-0.0001)
    ('+12.5', '0.0')
    """
    rounded = round(100 * share, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def _contrast(task: TaskComparison, trained: Sequence[ArmFigures], rivals: Sequence[ArmFigures]) -> Contrast | None:
    """The best of the rivals against the best of those that take no more operations; None where a side is empty."""
    if not rivals:
        return None
    rival = best(rivals)
    no_dearer = [arm for arm in trained if _operations(arm) <= _operations(rival)]
    return task.contrasts([(best(no_dearer), rival)])[0] if no_dearer else None


def _operations(figures: ArmFigures) -> float:
    """For one token; 0 where nobody knows, for then all are of one model."""
    return figures.samples.flops_per_token or 0.0


def _is_same(one: Contrast, other: Contrast) -> bool:
    return one.first is other.first and one.second is other.second


def _equal_tokens_clause(verdict: Verdict) -> str:
    if verdict.equal_tokens:
        own, rivals = (arm.tokens_per_answer for arm in (verdict.equal_tokens.first, verdict.equal_tokens.second))
        return (
            f"at no more tokens ({own:,.1f} against {rivals:,.1f} for an answer) "
            f"{_gain(verdict.equal_tokens, 'the best sampling-only arm')}"
        )
    rival = best(in_earnest(verdict.task.sampling_only))
    return (
        f"at no more tokens there is no RL arm to compare, for each draws more than the {rival.tokens_per_answer:,.1f} "
        f"for an answer of the best sampling-only arm ({_name(rival)}), or thinks deeper"
    )


def _single_shot_clause(verdict: Verdict) -> str:
    if verdict.single_shot:
        return f"single-shot {_gain(verdict.single_shot, 'the best plain completion of the base model')}"
    return "single-shot there is nothing to compare, for one side has no greedy or temperature arm"


def _gain(contrast: Contrast, rival: str) -> str:
    difference = contrast.difference
    told = "can" if difference.is_told_from_nothing else "cannot"
    return (
        f"RL ({_name(contrast.first)}) {_moved(difference.value)} {rival} ({_name(contrast.second)}), 95 % interval "
        f"{points(difference.low)} to {points(difference.high)}, which {told} be told from nothing"
    )


def _moved(difference: float) -> str:
    size = f"{abs(100 * difference):.1f} points"
    if not round(1000 * difference):
        return "gained nothing over"
    return f"gained {size} over" if difference > 0 else f"lost {size} to"


def _name(figures: ArmFigures) -> str:
    return f"{figures.arm.name}, {100 * figures.accuracy.value:.1f} %"


def _count(num: int, kind: str) -> str:
    return f"{num} {kind} {'arm' if num == 1 else 'arms'}"
