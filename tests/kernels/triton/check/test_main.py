import json
import sys

import pytest
import torch

import kernels.triton.check.__main__ as command
import kernels.triton.check.checks
import kernels.triton.check.machine
import kernels.triton.check.speed
from kernels.triton.check.findings import Bits
from kernels.triton.check.machine import Machine, this_machine
from kernels.triton.check.sizes import FULL, QUICK

MACHINE = Machine("A Card", "9.0", 139.8, 132, "580.1", "13.0", "2.11.0", "3.6.0", "3.12.3")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_one_sentence_is_said_and_nothing_written(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["check", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit:
        command.main()
    assert exit.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "sees no CUDA device; nothing was measured" in said.err
    assert "pytest tests/kernels/triton" in said.err
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None if name == "triton" else object())
    assert command.what_is_missing() == f"triton is not installed for {sys.executable}"


@pytest.mark.parametrize(("quick", "sizes"), [(True, QUICK), (False, FULL)])
def test_the_report_is_written_where_it_was_asked_for_and_its_status_returned(
    quick, sizes, tmp_path, monkeypatch, capsys
):
    given = []

    def check(*arguments):
        given.append(arguments)
        arguments[1].entries.append(Bits("op", "bf16", "case", 5, 1))

    monkeypatch.setattr(kernels.triton.check.checks, "check", check)
    monkeypatch.setattr(kernels.triton.check.machine, "this_machine", lambda: MACHINE)
    assert command.run(tmp_path, quick) == 3
    assert given[0][0] is sizes
    assert given[0][1].limit_s == sizes.limit_s
    assert json.loads((tmp_path / "gpu-check.json").read_text())["bits"][0]["differ"] == 1
    assert (tmp_path / "gpu-check.md").read_text() in capsys.readouterr().out


def test_the_machine_is_told_even_where_nvidia_smi_is_missing(monkeypatch):
    class Properties:
        name, major, minor, total_memory, multi_processor_count = "A Card", 9, 0, 150 * 2**30, 132

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("PATH", "")
    told = this_machine()
    assert (told.device, told.capability, told.memory_gib, told.driver) == ("A Card", "9.0", 150.0, "unknown")
    assert told.torch == torch.__version__
