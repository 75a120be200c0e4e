"""Digests of code: what a module computes, whatever its comments say and however it is laid out.

A module's digest is sha256 over its syntax tree without docstrings, so that only an edit that could move a bit changes
it. Installed packages are named by their versions instead.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
"""Where the packages below lie."""
OWN = ("kernels", "rollout", "reward", "rl")
OTHER_DEVICES = ("kernels.triton.",)
"""Packages of ops that no run on a CPU computes with."""
_INSTALLED = frozenset(("site-packages", "dist-packages"))


@dataclass
class Code:
    """What a module runs: itself, the modules it imports that are no installed package, and the packages."""

    sources: dict[str, str] = field(default_factory=dict)
    """sha256 hex by module name."""
    libraries: dict[str, str] = field(default_factory=dict)
    """Version by package."""


def code_of(module: str) -> Code:
    """The code that a module runs, as far as its import statements say. Nothing is run but parent packages."""
    code, pending = Code(), [module]
    while pending:
        name = pending.pop()
        if name in code.sources:
            continue
        path = _own_path(name)
        if path is None:
            code.libraries |= _packages(name.partition(".")[0])
        else:
            code.sources[name] = source_digest(path)
            pending += _imported(path, name)
    return Code(dict(sorted(code.sources.items())), dict(sorted(code.libraries.items())))


def own_sources(names: tuple[str, ...]) -> dict[str, str]:
    """sha256 hex by module name; of a package that is named, all its modules but those of `OTHER_DEVICES`."""
    paths = {_module_name(path): path for name in names for path in _module_files(ROOT / name.replace(".", "/"))}
    return {name: source_digest(path) for name, path in paths.items() if not name.startswith(OTHER_DEVICES)}


def source_digest(path: Path) -> str:
    """sha256 hex over the syntax tree of a Python file, docstrings left out."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_docstring(statement)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _module_files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def _is_docstring(statement: ast.stmt) -> bool:
    """True for a text that stands by itself, which is also how attributes are documented."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _own_path(name: str) -> Path | None:
    """The source of a module that is no installed package's; None of any other, and where it has none."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return None
    if top not in OWN and any(_INSTALLED & set(place.parts) for place in _places(top)):
        return None
    return next((place for place in _places(name) if place.suffix == ".py"), None)


def _places(name: str) -> list[Path]:
    """The file of a module, or the folders of a package that has none; nothing where there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    return [Path(spec.origin)] if spec.origin else [Path(place) for place in spec.submodule_search_locations or ()]


def _imported(path: Path, module: str) -> Iterator[str]:
    """Names of the modules that a file imports, wherever in it; `from a import b` may mean `a.b`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
            yield base
            yield from (name for alias in node.names if _own_path(name := f"{base}.{alias.name}") is not None)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _packages(top: str) -> dict[str, str]:
    """Version by distribution of what provides the package `top`; nothing where none does."""
    names = sorted(set(_distributions().get(top, ())))
    return {canonicalize_name(name): importlib.metadata.version(name) for name in names}


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
