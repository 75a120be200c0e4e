"""The algorithms by name. A new one is a new file and a line here."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

from rl.algorithms.base import Algorithm
from rl.algorithms.bnpo import BNPO
from rl.algorithms.cispo import CISPO
from rl.algorithms.dapo import DAPO
from rl.algorithms.dr_grpo import DrGRPO
from rl.algorithms.grpo import GRPO
from rl.algorithms.gspo import GSPO
from rl.algorithms.reinforce_pp import ReinforcePP
from rl.algorithms.rloo import RLOO

ALGORITHMS: dict[str, type] = {
    "grpo": GRPO,
    "dr_grpo": DrGRPO,
    "bnpo": BNPO,
    "dapo": DAPO,
    "gspo": GSPO,
    "cispo": CISPO,
    "rloo": RLOO,
    "reinforce_pp": ReinforcePP,
}


def make_algorithm(name: str, params: dict[str, Any]) -> Algorithm:
    """The algorithm called `name`.

    Raises ValueError for an unknown name or parameter, with the nearest match, and for a value out of range.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm.name {name!r} is not an algorithm{_instead(name, list(ALGORITHMS))}")
    known = [field.name for field in dataclasses.fields(ALGORITHMS[name])]
    for key in params:
        if key not in known:
            raise ValueError(f"algorithm.params.{key} is not a parameter of {name}{_instead(key, known)}")
    return ALGORITHMS[name](**params)


def _instead(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
