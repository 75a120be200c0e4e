import os
import platform
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from kernels import cpu_library
from rl.doctor import Verdict, library, machine
from rl.doctor.library import OPS, dtype_finding, ops_finding, processor_finding
from rl.doctor.machine import Memory, cores_finding, object_store_bytes, read_memory, shared_memory_finding
from rl.doctor.sizes import GIB, MIB, gib

KERNELS = Path(cpu_library.__file__).parent


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.fixture(autouse=True)
def sixteen_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    there = SimpleNamespace(total=16 * GIB, available=12 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: there)


def test_memory_without_a_limit_is_the_machines(tmp_path: Path) -> None:
    assert read_memory(tmp_path) == Memory(16 * GIB, 12 * GIB)
    assert read_memory(write(tmp_path, memory__max="max\n")) == Memory(16 * GIB, 12 * GIB)
    # version 1 writes a number that no machine has
    v1 = write(tmp_path / "v1" / "memory", memory__limit_in_bytes="9223372036854771712\n")
    assert read_memory(v1.parent) == Memory(16 * GIB, 12 * GIB)


def test_a_containers_limit_counts_less_what_it_uses_but_for_file_cache(tmp_path: Path) -> None:
    stat = f"anon 1\ninactive_file {GIB}\n"
    v2 = write(tmp_path / "v2", memory__max=str(4 * GIB), memory__current=str(3 * GIB), memory__stat=stat)
    assert read_memory(v2) == Memory(4 * GIB, 2 * GIB)
    v1 = write(
        tmp_path / "v1" / "memory",
        memory__limit_in_bytes=str(4 * GIB),
        memory__usage_in_bytes=str(3 * GIB),
        memory__stat=f"inactive_file 7\ntotal_inactive_file {GIB}\n",
    )
    assert read_memory(v1.parent) == Memory(4 * GIB, 2 * GIB)


def test_a_container_cannot_have_more_than_the_machine_has_left(tmp_path: Path) -> None:
    v2 = write(tmp_path, memory__max=str(15 * GIB), memory__current="0")
    assert read_memory(v2) == Memory(15 * GIB, 12 * GIB)


def test_cores_that_may_not_be_used_are_a_warning() -> None:
    assert cores_finding(8, 8).verdict is Verdict.OK
    finding = cores_finding(8, 2)
    assert finding.verdict is Verdict.WARN
    assert "2 of 8" in finding.found and "trainer.threads to 2" in finding.remedy


@pytest.mark.parametrize(
    ("available", "shm", "expected"),
    [
        (10 * GIB, 64 * MIB, 3 * GIB),  # 30 %
        (100 * GIB, 64 * MIB, 10**10),  # never more than 10 GB where /dev/shm is small
        (100 * GIB, 20 * GIB, 19 * GIB),  # 95 % of it where it is not
        (10_000 * GIB, 5_000 * GIB, 200 * 10**9),
    ],
)
def test_the_object_store_is_as_large_as_ray_makes_it(
    available: int, shm: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=shm))
    assert object_store_bytes(Memory(available, available)) == expected


def test_the_object_store_is_as_large_as_ray_makes_it_on_this_machine() -> None:
    from ray._private.utils import resolve_object_store_memory

    assert object_store_bytes(Memory(16 * GIB, 12 * GIB)) == resolve_object_store_memory(12 * GIB)


def test_a_small_shared_memory_is_a_warning_with_the_size_to_ask_for() -> None:
    assert shared_memory_finding(4 * GIB, 3 * GIB).verdict is Verdict.OK
    finding = shared_memory_finding(64 * MIB, 3 * GIB)
    assert finding.verdict is Verdict.WARN
    assert finding.found.startswith("64 MiB free") and "--shm-size=4g" in finding.remedy


def test_the_machine_is_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    subjects = {finding.subject: finding for finding in machine.check_machine()}
    assert list(subjects) == ["cores", "memory", "/dev/shm"]
    assert subjects["cores"].verdict is Verdict.WARN


@pytest.mark.parametrize(("size", "text"), [(17 * MIB, "17 MiB"), (GIB, "1.0 GiB"), (GIB * 3.44, "3.4 GiB")])
def test_sizes_read_so(size: float, text: str) -> None:
    assert gib(size) == text


def test_every_op_that_the_kernels_call_is_looked_for() -> None:
    """By the text: a call to a compiled op stands behind `ops.` or `cpu_ops().`."""
    call = re.compile(r"(?:(?<!\.)\bops|\bcpu_ops\(\))\.(\w+)")
    called = {name for path in KERNELS.glob("*.py") for name in call.findall(path.read_text())}
    assert called == set(OPS)


@pytest.mark.parametrize("missing", OPS)
def test_a_library_without_one_of_the_ops_has_to_be_replaced(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = SimpleNamespace(**{name: None for name in OPS if name != missing})
    monkeypatch.setattr(cpu_library, "cpu_ops", lambda: there)
    finding = ops_finding()
    assert finding.verdict is Verdict.MEND
    assert finding.found.endswith(f"no {missing}")


def test_a_library_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail():
        raise OSError("libgomp.so.1: cannot open shared object file\nand more")

    monkeypatch.setattr(cpu_library, "cpu_ops", fail)
    finding = ops_finding()
    assert finding.verdict is Verdict.MEND
    assert finding.found == "libgomp.so.1: cannot open shared object file"


@pytest.mark.parametrize(("isa", "dtype"), [("avx512_bf16", "bfloat16"), ("avx512", "float32"), ("avx2", "float32")])
def test_auto_follows_the_instruction_set(isa: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_library, "vector_isa", lambda: isa)
    finding = processor_finding()
    assert finding.verdict is Verdict.OK
    assert finding.found.startswith(f"{isa}, ") and finding.found.endswith(f"picks {dtype}")


@pytest.mark.parametrize(("arch", "capability"), [("aarch64", "AVX2"), ("x86_64", "DEFAULT")])
def test_a_processor_without_kernels_is_told(arch: str, capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: arch)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert processor_finding().verdict is Verdict.MEND


def test_emulated_bf16_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_library, "has_fast_bfloat16", lambda: False)
    assert dtype_finding("bfloat16").verdict is Verdict.WARN
    assert dtype_finding("float32").verdict is Verdict.OK
    monkeypatch.setattr(cpu_library, "has_fast_bfloat16", lambda: True)
    assert dtype_finding("bfloat16").verdict is Verdict.OK
    assert [finding.subject for finding in library.check_library()] == ["processor", "CPU kernels"]
