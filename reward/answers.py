"""What a completion answers, in a form in which equal answers are equal texts: for votes, and to count what was unread.

It reads as the graders do, so that a vote is over what would have been graded.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from reward.math import parsed_formula
from reward.reasoning_gym import NUMBER, extract_answer


def read_answer(completion: str, columns: Mapping[str, Any]) -> str | None:
    """The answer in `completion`; None where there is none to be read.

    columns: the prompt's. A reasoning-gym question has an `entry`, whose own answer says whether a number is looked
    for; others are read by math-verify. Numbers come in one form: `1,234.50` and `2469/2` are the same.
    """
    entry = columns.get("entry")
    if entry is None:
        return _in_one_form(parsed_formula(completion))
    is_numeric = NUMBER.fullmatch(str(entry["answer"])) is not None
    answer = extract_answer(completion, numeric=is_numeric)
    if is_numeric and not NUMBER.search(answer):
        return None
    return _in_one_form(answer)


def _in_one_form(answer: str) -> str | None:
    text = " ".join(answer.split())
    try:
        return str(Fraction(text.replace(",", "")))
    except (ValueError, ZeroDivisionError):
        return text or None
