import ast
import os
import sys
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl

from kernels.triton.runtime import DEVICE, INTERPRETED, _interpret

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "kernels" / "triton").rglob("*.py"))
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@triton.jit
def _sum(x, out):
    tl.store(out, tl.sum(tl.load(x + tl.arange(0, 4)), 0))


def test_the_device_is_the_one_there_is():
    assert torch.cuda.is_available() == (DEVICE == "cuda")


@on_cpu
def test_kernels_are_interpreted_without_a_gpu_although_somebody_imported_triton_before():
    x, out = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.zeros(1)
    _sum[(1,)](x, out)
    assert out.item() == 15
    assert INTERPRETED


@on_cpu
@pytest.mark.parametrize("inherited", [None, "1"])
def test_processes_started_from_here_are_left_as_they_would_be(inherited, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    if inherited:
        monkeypatch.setenv("TRITON_INTERPRET", inherited)
    _interpret()
    assert os.environ.get("TRITON_INTERPRET") == inherited


def test_the_kernels_import_torch_triton_and_the_numerics_only():
    allowed = {"torch", "triton", "kernels", *sys.stdlib_module_names}
    imported = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            imported.setdefault(path.name, set()).update(name.partition(".")[0] for name in names)
    assert {name: extra for name, found in imported.items() if (extra := found - allowed)} == {}
    assert len(imported) > 5
