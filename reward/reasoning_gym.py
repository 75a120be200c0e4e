"""Rewards for reasoning-gym tasks, and the one door through which reasoning-gym is imported.

    completion ── extract_answer ──> answer ── the task's own score_answer ──> float in [0, 1]

Some tasks evaluate the answer as a Python literal or expression, so scoring belongs in the reward workers
(`reward.rubric`), never in the driver.
"""

import functools
import importlib
import importlib.machinery
import json
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reward import mod_chain

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_BOXED = "\\boxed{"
# A sign counts only where nothing stands right before it: "= -7" is -7, "12-7" ends in 7.
NUMBER = re.compile(
    r"(?:(?<![\w.)])-|(?<![\w.]))"
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
)
_NUMERIC_POWER = re.compile(r"\d\s*\)*\s*(?:\*\*|\^)")
_HUGE_EXPONENT = re.compile(r"(?:\*\*|\^)\s*\(*\s*\d{4,}|\d{4,}\s*\)*\s*!|factorial")


class _Missing(types.ModuleType):
    """A module that can be imported but not used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect and importlib probe these and expect AttributeError
            raise AttributeError(name)
        raise ImportError(
            f"{self.__name__}.{name} is needed here but {self.__name__} is not installed; "
            f"run `pip install {self.__name__}` (it needs a C compiler)"
        )


def _let_pycosat_be_missing() -> None:
    """Makes `import pycosat` succeed where the package is missing; any use of it raises ImportError.

    Upstream symbol: reasoning_gym.logic.contrib.logic_puzzle.sat_utils (seen in 0.1.25) imports pycosat as soon as
    reasoning_gym is imported, for the one task zebra_puzzles. pycosat has no wheel, so it would ask every user for a
    compiler. Remove when reasoning_gym imports it lazily or pycosat ships wheels.
    """
    try:
        import pycosat  # noqa: F401
    except ImportError:
        module = _Missing("pycosat")
        module.__spec__ = importlib.machinery.ModuleSpec("pycosat", None)
        sys.modules["pycosat"] = module


@functools.cache
def load_reasoning_gym() -> types.ModuleType:
    """The `reasoning_gym` package, with our own tasks in it; the first call takes seconds. Import it nowhere else."""
    _let_pycosat_be_missing()
    gym = importlib.import_module("reasoning_gym")
    mod_chain.register(gym)
    return gym


def preload() -> None:
    """Pays for the slow import ahead of the first score; reward workers call it as they start."""
    load_reasoning_gym()


def extract_answer(completion: str, *, numeric: bool = True) -> str:
    r"""The answer that a completion commits to.

    It is the contents of the last `<answer>…</answer>` or `\boxed{…}`; without one, the last number if `numeric`;
    without that, the whole text stripped.

    >>> extract_answer("12 + 30 = 42."), extract_answer("so -1,234"), extract_answer(r"\boxed{\frac{1}{2}} or 3")
    ('42', '-1234', '\\frac{1}{2}')
    """
    marked = _last_marked(completion)
    if marked is not None:
        return marked.strip()
    numbers = NUMBER.findall(completion.replace("\u2212", "-")) if numeric else []
    return numbers[-1].replace(",", "") if numbers else completion.strip()


def _last_marked(text: str) -> str | None:
    """Contents of the tag or box that opens last, so the inner one where they are nested."""
    tags = list(_TAGGED.finditer(text))
    tag_start = tags[-1].start() if tags else -1
    box_start = text.rfind(_BOXED)
    boxed = _braced(text, box_start + len(_BOXED)) if box_start > tag_start else None
    if boxed is not None:
        return boxed
    return tags[-1].group(1) if tags else None


def _braced(text: str, start: int) -> str | None:
    """What stands between `start`, just past an opening brace, and the brace that closes it; None if none does."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return None


def reasoning_gym_score(
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    task: Sequence[str] | None = None,
    entry: Sequence[Mapping[str, Any]] | None = None,
    params: Sequence[Mapping[str, Any]] | None = None,
    exact: bool = True,
    **columns: Any,
) -> list[float | None]:
    """One score in [0, 1] per completion, from the task's own `score_answer`; malformed answers are 0.0.

    `task`, `entry` and `params` (the task's parameters, which decide the tolerance of a few tasks) are columns.
    With `exact`, partial credit is dropped: 1.0 where the task gives full marks, else 0.0. None (does not apply) for
    a question that has no `task` and `entry`, which another kind of source asked.
    """
    if task is None or entry is None:
        return [None] * len(completions)
    all_params = params or [{}] * len(completions)
    scores = [
        _score_one(_scorer(name, json.dumps(dict(given), sort_keys=True)), completion, question)
        for name, given, completion, question in zip(task, all_params, completions, entry, strict=True)
    ]
    return [float(score >= 1.0) if exact else score for score in scores]


def reasoning_gym_partial_score(
    prompts: Sequence[str], completions: Sequence[str], **columns: Any
) -> list[float | None]:
    """One score in [0, 1] per completion, partial credit as the task gives it; None as in `reasoning_gym_score`."""
    return reasoning_gym_score(prompts, completions, exact=False, **columns)


@functools.lru_cache(maxsize=64)
def _scorer(task: str, params_json: str) -> Callable[[str, Mapping[str, Any]], float]:
    """The task's `score_answer`, under the parameters that made the question."""
    score_answer: Callable[[str, Mapping[str, Any]], float]
    score_answer = load_reasoning_gym().create_dataset(task, **json.loads(params_json)).score_answer
    return score_answer


def _score_one(score_answer: Callable[..., float], completion: str, entry: Mapping[str, Any]) -> float:
    oracle = str(entry["answer"])
    answer = extract_answer(completion, numeric=NUMBER.fullmatch(oracle) is not None)
    if _may_hang(answer) and not _may_hang(oracle):
        return 0.0
    try:
        return float(score_answer(answer, entry))
    except Exception:
        # Tasks parse answers with int(), eval() and sympy, which raise all kinds of errors on malformed text: a zero.
        # If the right answer fails as well, the entry is broken, and that error must be seen.
        score_answer(entry["answer"], entry)
        return 0.0


def _may_hang(answer: str) -> bool:
    """True for arithmetic like 9**9**9, which tasks that evaluate answers would compute for hours.

    Decided from the text and not by a clock, because a reward that depends on time cannot be replayed.
    """
    return len(_NUMERIC_POWER.findall(answer)) > 1 or _HUGE_EXPONENT.search(answer) is not None
