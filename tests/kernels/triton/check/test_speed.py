from dataclasses import replace

import pytest
import torch

from kernels.triton.check.findings import Ceilings, Timing
from kernels.triton.check.speed import WARM_UPS, cuda_clock


@pytest.fixture
def events(monkeypatch):
    """Stands in for a device on which the n-th repeat takes 1, 5 and 3 milliseconds; returns what was recorded."""
    recorded, durations = [], iter((1.0, 5.0, 3.0))

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            recorded.append("event")

        def elapsed_time(self, end):
            return next(durations)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: recorded.append("synchronize"))
    return recorded


@pytest.fixture
def flushes(events, monkeypatch):
    fill = torch.Tensor.zero_
    monkeypatch.setattr(torch.Tensor, "zero_", lambda tensor: events.append(f"flush {tensor.numel()}") or fill(tensor))


def test_a_time_is_the_median_in_seconds_after_warm_ups_with_the_caches_flushed_outside_of_it(events, flushes, tiny):
    clock = cuda_clock(replace(tiny, repeats=3, copy_bytes=64))
    assert clock(lambda: events.append("op")) == 3e-3
    assert events == [*["op"] * WARM_UPS, *["flush 64", "event", "op", "event"] * 3, "synchronize"]


def test_the_roofline_is_the_longer_of_moving_and_computing():
    measured = Ceilings(bytes_per_s=100.0, flops_per_s=1000.0)
    assert measured.floor_s(num_bytes=50, flops=100) == 0.5
    assert measured.floor_s(num_bytes=50, flops=2000) == 2.0
    timing = Timing("op", "case", 1, seconds=4.0, peer="peer", peer_s=2.0, floor_s=1.0)
    assert (timing.roofline, timing.ratio) == (0.25, 2.0)
