"""The parameters of an algorithm: dataclass fields that know their range, set by users in `algorithm.params`."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

_CHECK = "check"


def number(default: float, *, at_least: float = -math.inf, above: float = -math.inf, at_most: float = math.inf) -> Any:
    """A field that holds a finite number in this range."""

    def holds(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and value >= at_least and value > above and value <= at_most

    bounds = (("at least", at_least), ("above", above), ("at most", at_most))
    rule = " and ".join(f"{words} {bound:g}" for words, bound in bounds if math.isfinite(bound))
    return _field(default, holds, f"a number {rule}")


def choice(default: str, options: Iterable[str]) -> Any:
    """A field that holds one of these names."""
    names = tuple(options)
    return _field(default, lambda value: value in names, " or ".join(names))


def flag(default: bool) -> Any:
    """A field that is true or false."""
    return _field(default, lambda value: isinstance(value, bool), "true or false")


def check(algorithm: Any) -> None:
    """Raises ValueError naming the first parameter of `algorithm` that is not what its field asks for."""
    for field in dataclasses.fields(algorithm):
        assert _CHECK in field.metadata, f"{field.name}: declare it with number, choice or flag"
        holds, rule = field.metadata[_CHECK]
        value = getattr(algorithm, field.name)
        if not holds(value):
            raise ValueError(f"algorithm.params.{field.name} must be {rule}, got {value!r}")


def _field(default: Any, holds: Callable[[Any], bool], rule: str) -> Any:
    return dataclasses.field(default=default, metadata={_CHECK: (holds, rule)})
