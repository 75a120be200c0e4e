"""Arms as a sampling would have left them, made up."""

from collections.abc import Sequence
from dataclasses import replace

from rl.compare.comparison import TaskComparison
from rl.compare.measures import Arm, ArmFigures
from rl.compare.results import ArmSamples
from rl.sample.folder import Candidate, QuestionSamples


def candidate(correct: bool, answer: str | None = None, truncated: bool = False, logprob: float = -2.0) -> Candidate:
    """A completion of two tokens."""
    return Candidate((5, 2), answer or "", answer or ("1" if correct else "0"), correct, truncated, logprob)


def question(index: int, correct: Sequence[bool], tokens: int, returned: Sequence[int] = ()) -> QuestionSamples:
    """One question, a candidate for every entry of `correct`; all are answers unless `returned` says which."""
    candidates = tuple(candidate(right) for right in correct)
    chosen = tuple(returned) or tuple(range(len(candidates)))
    return QuestionSamples(f"held_out/0/{index}", candidates, chosen, tokens, 0)


def samples(questions: Sequence[QuestionSamples], method: str = "temperature", policy: str = "ab") -> ArmSamples:
    return ArmSamples(tuple(questions), method, policy, wall_s=3.0, acceptance_rate=None)


def arm(
    name: str,
    correct: Sequence[bool],
    tokens: int = 2,
    method: str = "greedy",
    trained: bool = False,
    prm: str = "",
    flops_per_token: float | None = None,
) -> ArmFigures:
    """An arm with one answer a question, right or wrong by `correct`, each at the price of `tokens`."""
    asked = [question(index, [right], tokens) for index, right in enumerate(correct)]
    about = Arm(name, method, trained, training_tokens=1000 if trained else 0, prm=prm)
    found = replace(samples(asked, method, "cd" if trained else "ab"), flops_per_token=flops_per_token)
    return ArmFigures(about, found, ())


def task(*figures: ArmFigures, name: str = "sums", in_domain: bool = True) -> TaskComparison:
    """A task whose base is the first of the arms."""
    return TaskComparison(name, in_domain, figures, figures[0].arm.name)
