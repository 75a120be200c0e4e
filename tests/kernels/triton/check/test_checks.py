"""The whole check in Triton's interpreter, at tiny sizes: all of it but the timing of CUDA events."""

import pytest
import torch

import kernels.triton.check.accuracy
import kernels.triton.check.bits
import kernels.triton.check.checks
from kernels.triton.check.checks import check
from kernels.triton.check.findings import Bits, Ceilings, Certified, Error, Failure, Skipped, Timing
from kernels.triton.check.machine import Machine
from kernels.triton.check.parts import Log
from kernels.triton.check.report import Report

MACHINE = Machine("none", "9.0", 1.0, 1, "1", "1", "1", "1", "1")


def half_a_second(op):
    """Runs the op and says that it took half a second."""
    op()
    return 0.5


def checked(sizes, clock=half_a_second):
    log = Log(say=lambda _: None)
    check(sizes, log, clock)
    return Report(MACHINE, log.entries, 1.0)


@pytest.fixture(scope="module")
def report(tiny):
    return checked(tiny)


def test_nothing_fails_and_all_bits_agree(report):
    assert report.of(Failure) == []
    assert [(entry.op, entry.case) for entry in report.of(Bits) if entry.differ] == []
    assert report.wrong == []
    assert report.status == 0


def test_every_weight_is_certified(report):
    assert {(entry.weight, entry.verdict) for entry in report.of(Certified)} == {
        (weight, "both blocks agree") for weight in ("q, o", "k, v", "gate, up", "down", "logits")
    }


def test_every_op_is_compared_and_every_comparison_has_numbers_in_it(report):
    compared = {(entry.op, entry.case) for entry in report.of(Bits)}
    assert {op for op, _ in compared} == {
        "attention 16", "RMSNorm 24", "log-probabilities",
        *(f"linear {weight}" for weight in ("q, o", "k, v", "gate, up", "down", "logits")),
    }  # fmt: skip
    assert sorted(case for op, case in compared if op == "attention 16") == [
        "decode of 4 positions in one batch",
        "decode of single positions",
        "gradients, packed and computed again beside another sequence",
        "packed behind a shared prompt",
        "prefill of 18 tokens in chunks, one call each",
        "the chunks in one batch",
    ]
    assert all(entry.compared > 0 for entry in report.of(Bits))
    # Counts 1 and 65 of 66 rows: 1 at three places, 65 at two, of 24 numbers each.
    norm = next(entry for entry in report.of(Bits) if entry.op == "RMSNorm 24")
    assert norm.compared == (3 * 1 + 2 * 65) * 24


def test_both_passes_of_every_op_are_held_against_float64(report):
    found = {}
    for error in report.of(Error):
        found.setdefault(error.op, []).append(error.of)
    assert found == {
        "attention 16": [
            "4 rows of 18", "forward", "gradient of query", "gradient of key", "gradient of value",
        ],
        "linear down": ["forward", "gradient of x", "gradient of weight", "gradient of bias"],
        "RMSNorm": ["forward", "gradient of x", "gradient of weight"],
        "log-probabilities": ["forward", "gradient of logits"],
        "log-probabilities with projection": ["forward", "gradient of hidden", "gradient of weight"],
    }  # fmt: skip
    assert all(0 < error.relative < 2.0**-18 for error in report.of(Error))


def test_every_op_is_timed_at_every_row_count_against_torch(report):
    assert report.of(Ceilings) == [Ceilings(bytes_per_s=2 * 64 / 0.5, flops_per_s=2 * 4**3 / 0.5)]
    timed = {}
    for timing in report.of(Timing):
        timed.setdefault((timing.op, timing.case), []).append(timing.rows)
    assert timed == {
        ("linear", "q, o 32 x 24"): [1, 3],
        ("linear", "k, v 16 x 24"): [1, 3],
        ("linear", "gate, up 40 x 24"): [1, 3],
        ("linear", "down 24 x 40"): [1, 3],
        ("linear", "logits 48 x 24"): [1, 3],
        ("attention", "decode, 5 keys each"): [1, 3],
        ("attention", "prefill, one sequence"): [1, 3],
        ("RMSNorm", "width 24"): [1, 3],
        ("log-probabilities", "vocabulary 48"): [1, 3],
    }
    linear = report.of(Timing)[1]  # 3 rows of 24 numbers, 32 x 24 of a weight, 3 rows of 32: 936 numbers, 2 bytes each
    assert linear.floor_s == max(2 * 936 / 256, 2 * 3 * 32 * 24 / 256)
    assert (linear.seconds, linear.peer_s, linear.ratio) == (0.5, 0.5, 1.0)
    assert linear.roofline == linear.floor_s / 0.5


def test_what_no_gpu_can_be_checked_for_is_said(report):
    assert [entry.part for entry in report.of(Skipped)] == ["engine: parity with vLLM, its speed", "a whole model"]


def test_libraries_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(kernels.triton.check.checks.importlib.util, "find_spec", lambda name: None)
    reasons = [entry.reason for entry in kernels.triton.check.checks.not_covered()]
    assert [reason.rpartition("; ")[2] for reason in reasons] == [
        "vllm is not installed either", "transformers is not installed either",
    ]  # fmt: skip


@pytest.fixture
def only_norms(monkeypatch):
    """Of the comparisons, those of RMSNorm; no other part."""
    parts = kernels.triton.check.bits.parts
    monkeypatch.setattr(
        kernels.triton.check.checks.bits,
        "parts",
        lambda *given: (part for part in parts(*given) if "RMSNorm" in part.name),
    )
    for module, name in (("certification", "parts"), ("accuracy", "parts"), ("speed", "parts")):
        monkeypatch.setattr(getattr(kernels.triton.check.checks, module), name, lambda *_: ())


def broken_norm(monkeypatch, flaw):
    norm = kernels.triton.check.bits.rms_norm
    monkeypatch.setattr(kernels.triton.check.bits, "rms_norm", lambda *given: flaw(norm(*given)))


def test_an_op_whose_bits_follow_the_batch_is_counted_and_ends_with_3(only_norms, tiny, monkeypatch):
    def one_bit_of_a_lone_row(out):
        if len(out) == 1:
            out.view(torch.int32)[0, 3] ^= 1
        return out

    broken_norm(monkeypatch, one_bit_of_a_lone_row)
    report = checked(tiny)
    (found,) = report.of(Bits)
    assert (found.differ, found.compared) == (3, (3 * 1 + 2 * 65) * 24)  # one row, at three places
    assert report.status == 3


def test_an_op_that_raises_is_a_failure_with_its_error_and_ends_with_1(only_norms, tiny, monkeypatch):
    def out_of_resources(_):
        raise RuntimeError("out of resource: shared memory")

    broken_norm(monkeypatch, out_of_resources)
    report = checked(tiny)
    (failure,) = report.of(Failure)
    assert failure.error == "RuntimeError: out of resource: shared memory"
    assert "out_of_resources" in failure.traceback
    assert report.of(Ceilings)  # what came behind it was done
    assert report.status == 1


def test_an_op_that_is_off_by_more_than_rounding_is_out_of_bounds_in_the_passes_it_spoils(tiny, monkeypatch):
    norm = kernels.triton.check.accuracy.rms_norm
    # Twice the value, and the gradient of the value alone.
    monkeypatch.setattr(kernels.triton.check.accuracy, "rms_norm", lambda *given: norm(*given) + norm(*given).detach())
    log = Log(say=lambda _: None)
    log.run(part for part in kernels.triton.check.accuracy.parts(tiny, ()) if "RMSNorm" in part.name)
    report = Report(MACHINE, log.entries, 1.0)
    assert [error.of for error in report.wrong] == ["forward"]
    assert report.wrong[0].relative == pytest.approx(1.0)
    assert [error.of for error in report.of(Error)] == ["forward", "gradient of x", "gradient of weight"]


def test_a_clock_that_fails_leaves_the_speed_out_and_says_so(only_norms, tiny):
    def stopped(op):
        raise RuntimeError("no events")

    report = checked(tiny, stopped)
    assert [failure.part for failure in report.of(Failure)] == ["ceilings"]
    assert report.of(Skipped)[-1].part == "speed"
    assert report.of(Bits)
