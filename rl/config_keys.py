"""Which keys a config can have, and what type each value is. Dataclasses are the schema."""

import dataclasses
import difflib
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from rl.errors import ConfigError

_NOUNS = {int: "an integer", float: "a number", str: "text", bool: "true or false", NoneType: "null"}


def check_tree(value: Any, hint: Any, key: str, source: str, *, root: type) -> None:
    """Raise `ConfigError` for the first key under `value` that `hint` does not know, or value that is not of its type.

    `source` is what the user wrote it in, `root` the dataclass whose keys are offered instead.
    """
    if not _fits(value, hint):
        raise ConfigError(f"{source}: {key or 'a config'} must be {_noun(hint)}, got {value!r}")
    for name, child in _children(value):
        child_key = f"{key}.{name}".lstrip(".")
        check_tree(child, hint_at(child_key, source, root=root), child_key, source, root=root)


def hint_at(key: str, source: str, *, root: type) -> Any:
    """Return the type of the value at dotted `key`. Raises `ConfigError` with the nearest match if there is none."""
    hint: Any = root
    for part in key.split("."):
        hint = _hint_of_child(hint, part)
        if hint is None:
            raise ConfigError(f"{source}: there is no key {key}; {_nearest(key, root)}")
    return hint


def _hint_of_child(hint: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return get_type_hints(hint).get(name)
    if get_origin(hint) is list:
        return get_args(hint)[0] if name.isdigit() else None
    if get_origin(hint) is dict:
        return get_args(hint)[1]
    return Any if hint is Any else None


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any or (isinstance(value, str) and "${" in value):
        return True
    if get_origin(hint) is UnionType:
        return any(_fits(value, choice) for choice in get_args(hint))
    if dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is (get_origin(hint) or hint)


def _noun(hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        return f"a mapping with keys {', '.join(field.name for field in dataclasses.fields(hint))}"
    if get_origin(hint) is UnionType:
        return " or ".join(map(_noun, get_args(hint)))
    if get_origin(hint) is list:
        return "a list"
    return _NOUNS.get(hint, "a mapping")


def _nearest(key: str, root: type) -> str:
    """Return a remedy: the key of the same name elsewhere, else the one spelt most alike, else those there are."""
    known = list(_keys(root, ""))
    same_name = [other for other in known if other.split(".")[-1] == key.split(".")[-1]]
    close = same_name if len(same_name) == 1 else difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"at the top there are {', '.join(field.name for field in dataclasses.fields(root))}"


def _keys(hint: Any, prefix: str) -> Iterator[str]:
    for name, child in get_type_hints(hint).items():
        yield prefix + name
        item = get_args(child)[0] if get_origin(child) is list else child
        if dataclasses.is_dataclass(item):
            yield from _keys(item, f"{prefix}{name}." if item is child else f"{prefix}{name}.0.")
