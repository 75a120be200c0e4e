"""Rewards for mathematics: does the completion's answer equal the known one, however it is written?"""

import logging
import threading
from collections.abc import Sequence
from typing import Any

_TIME_LIMIT_S = 10
"""math-verify's own limit for reading and for comparing one answer; past it the answer counts as wrong.

Long, because a reward that depends on time cannot be replayed; `reward.time_limit_s` must have room for it.
"""
_MAX_EXPONENT = 10_000


def preload() -> None:
    """Pays for the slow import ahead of the first score; reward workers call it as they start."""
    import math_verify

    math_verify.parse("$1$", parsing_timeout=_time_limit_s())


def math_accuracy(
    prompts: Sequence[str], completions: Sequence[str], *, answer: Sequence[str], **columns: Any
) -> list[float | None]:
    r"""1.0 where the completion's answer equals the column `answer`, else 0.0; malformed output is 0.0.

    None (does not apply) where math-verify reads nothing in `answer` itself; ValueError where it does not come to an
    end of it. `\boxed{0.5}` equals an answer of `1/2`.
    """
    return [_accuracy(text, gold) for text, gold in zip(completions, answer, strict=True)]


def parsed_formula(completion: str) -> str:
    """The answer that math-verify reads in `completion`, as text; empty where it reads none, or one past evaluating."""
    import math_verify

    found = math_verify.parse(completion, parsing_timeout=_time_limit_s())
    return "" if not found or any(map(_is_explosive, found)) else str(found[0])


def _accuracy(completion: str, answer: str) -> float | None:
    import math_verify

    gold = _known(answer)
    if not gold:
        return None
    limit_s = _time_limit_s()
    found = math_verify.parse(completion, parsing_timeout=limit_s)
    if any(_is_explosive(expression) for expression in found):
        return 0.0
    return float(math_verify.verify(gold, found, timeout_seconds=limit_s))


def _known(answer: str) -> list[Any]:
    """What math-verify reads in the answer of the data. Raises ValueError where it runs into its time limit."""
    import math_verify
    from math_verify.errors import TimeoutException

    try:
        return math_verify.parse(_as_formula(answer), parsing_timeout=_time_limit_s(), raise_on_error=True)
    except TimeoutException as error:
        raise ValueError(
            f"the known answer {answer!r} cannot be read within {_TIME_LIMIT_S} s; write it in another way, or take "
            "the question out"
        ) from error


def _as_formula(answer: str) -> str:
    """`answer` between dollar signs unless it is marked up: math-verify reads bare text only as far as its numbers."""
    return answer if "$" in answer or "\\boxed" in answer or "\\(" in answer else f"${answer}$"


def _is_explosive(expression: Any) -> bool:
    """True for powers of powers and huge exponents or factorials, which would take hours to evaluate.

    math-verify parses without evaluating, so the tree can be looked at first. Decided from the expression and not by
    a clock, because a reward that depends on time cannot be replayed.
    """
    import sympy

    if not isinstance(expression, sympy.Basic):
        return False
    exponents = [power.exp for power in expression.atoms(sympy.Pow) if power.base.is_number]
    return any(map(_is_huge, exponents + [factorial.args[0] for factorial in expression.atoms(sympy.factorial)]))


def _is_huge(expression: Any) -> bool:
    import sympy

    nested = expression.atoms(sympy.Pow, sympy.factorial)
    return any(_grows(part) for part in nested) or any(
        abs(number) > _MAX_EXPONENT for number in expression.atoms(sympy.Integer)
    )


def _grows(expression: Any) -> bool:
    """False for roots and reciprocals such as the 1/2 in 2**(1/2), which sympy also writes as powers."""
    import sympy

    return isinstance(expression, sympy.factorial) or not (expression.exp.is_number and abs(expression.exp) <= 1)


def _time_limit_s() -> int | None:
    """math-verify's limit, or None outside the main thread, where its alarm signal cannot be set."""
    if threading.current_thread() is threading.main_thread():
        return _TIME_LIMIT_S
    for name in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it would warn that the limit is off, which is meant here
    return None
