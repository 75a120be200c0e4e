import torch

from kernels.triton.check.findings import Bits, Failure, Skipped
from kernels.triton.check.parts import Log, Part

FOUND = Bits("op", "bf16", "case", 1, 0)


def part(name, error=None):
    """Finds one thing, then raises."""

    def measure():
        yield FOUND
        if error:
            raise error

    return Part(name, measure)


def test_findings_are_kept_in_order_and_those_before_a_failure_too():
    said = []
    log = Log(say=said.append)
    log.run([part("a", ValueError("first\nsecond")), part("b")])
    assert [type(entry) for entry in log.entries] == [Bits, Failure, Bits]
    assert (log.of(Failure)[0].part, log.of(Failure)[0].error) == ("a", "ValueError: first")
    assert ["a: FAILED, ValueError: first" in said[0], "b: done" in said[1]] == [True, True]


def test_a_part_without_memory_is_skipped_and_did_not_fail():
    log = Log(say=lambda _: None)
    log.run([part("a", torch.OutOfMemoryError("Tried to allocate 68 GiB"))])
    assert log.of(Skipped) == [Skipped("a", "not enough memory: OutOfMemoryError: Tried to allocate 68 GiB")]
    assert log.of(Failure) == []


def test_a_device_that_a_kernel_broke_is_a_failure_of_every_later_part(monkeypatch):
    def broken():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", broken)
    log = Log(say=lambda _: None)
    log.run([part("a"), part("b")])
    assert [failure.part for failure in log.of(Failure)] == ["a", "b"]
    assert log.of(Bits) == []


def test_parts_that_would_begin_after_their_share_of_the_time_are_skipped():
    clock = [0.0]
    log = Log(limit_s=10.0, say=lambda _: None, now=lambda: clock[0])

    def slow():
        clock[0] += 4.0
        return [FOUND]

    log.run([Part(name, slow) for name in "abc"], share=0.35)
    assert [entry.part for entry in log.of(Skipped)] == ["b", "c"]
    assert log.of(Skipped)[0].reason == "out of time: it would have begun after 4 s"
    log.run([Part(name, slow) for name in "def"])
    assert [entry.part for entry in log.of(Skipped)] == ["b", "c", "f"]
