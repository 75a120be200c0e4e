from pathlib import Path

import psutil

from .soak import Sample, StoreSample, look, store_trend, trend


def samples(grows_mib: float, grows_fds: int) -> list[Sample]:
    """A hundred steps whose memory also swings by 30 MiB at every seventh."""
    return [
        Sample(step, 1, "driver", 500 + grows_mib * step / 100 + 30 * (step % 7 == 0), 40 + grows_fds * step // 100)
        for step in range(100, 200)
    ]


def test_a_leak_is_seen_through_swings() -> None:
    assert trend(samples(grows_mib=8, grows_fds=0)).mib_per_100_steps > 7
    assert not trend(samples(grows_mib=8, grows_fds=0)).is_flat


def test_descriptors_that_pile_up_are_a_leak() -> None:
    assert not trend(samples(grows_mib=0, grows_fds=20)).is_flat


def test_swings_alone_are_flat() -> None:
    found = trend(samples(grows_mib=0, grows_fds=0))
    assert found.is_flat and found.mib_per_100_steps == 0


def test_objects_that_pile_up_are_seen() -> None:
    assert store_trend([StoreSample(step, 3 + step // 10) for step in range(100)]) == (3, 12)
    assert store_trend([StoreSample(step, step % 4) for step in range(100)]) == (3, 0)


def test_this_process_can_be_looked_at(tmp_path: Path) -> None:
    driver = next(sample for sample in look(5, psutil.Process()) if sample.role == "driver")
    assert driver.step == 5 and driver.rss_mib > 1 and driver.num_fds > 0
