"""What the settings of a method must be. Each check raises ValueError with the rule, the value and the remedy."""

import math
from collections.abc import Mapping


def require(holds: bool, name: str, rule: str, value: object, remedy: str = "") -> None:
    """Nothing; raises ValueError unless `holds`."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value}; {remedy or f'set {name}'}")


def require_at_least_one(**values: int) -> None:
    """Nothing; raises ValueError naming the first value that is not a whole number of 1 or more."""
    for name, value in values.items():
        require(type(value) is int and value >= 1, name, "a whole number, at least 1", value)


def require_positive(**values: float) -> None:
    """Nothing; raises ValueError naming the first value that is not a finite number above 0."""
    for name, value in values.items():
        require(math.isfinite(value) and value > 0, name, "a finite number above 0", value)


def require_one_of(name: str, value: str, choices: Mapping[str, object]) -> None:
    """Nothing; raises ValueError unless `value` is one of `choices`."""
    require(value in choices, name, "one of " + ", ".join(choices), repr(value))


def require_blocks(block_tokens: int, max_new_tokens: int) -> None:
    """Nothing; raises ValueError unless a block is at least a token and fits the horizon."""
    require_at_least_one(block_tokens=block_tokens, max_new_tokens=max_new_tokens)
    require(
        block_tokens <= max_new_tokens,
        "block_tokens",
        f"at most max_new_tokens={max_new_tokens}, the horizon",
        block_tokens,
        "lower block_tokens or raise max_new_tokens",
    )


def horizons(block_tokens: int, max_new_tokens: int) -> list[int]:
    """Ends of the blocks: B, 2B, … and `max_new_tokens`, which a last and shorter block may reach."""
    return [*range(block_tokens, max_new_tokens, block_tokens), max_new_tokens]
