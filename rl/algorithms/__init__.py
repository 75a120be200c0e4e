"""The algorithms by name. A new one is a new file and a line here."""

import dataclasses
import difflib
from typing import Any

from rl.algorithms.base import Algorithm
from rl.algorithms.grpo import GRPO

ALGORITHMS: dict[str, type] = {"grpo": GRPO}


def make_algorithm(name: str, params: dict[str, Any]) -> Algorithm:
    """The algorithm called `name`. Raises ValueError for an unknown name or parameter, with the nearest match."""
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm.name must be one of {', '.join(ALGORITHMS)}, got {name!r}")
    known = [field.name for field in dataclasses.fields(ALGORITHMS[name])]
    for key in params:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
            raise ValueError(f"algorithm.params.{key} is not a parameter of {name}{hint}")
    return ALGORITHMS[name](**params)
