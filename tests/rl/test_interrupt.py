import os
import signal
import threading

import pytest

from rl.interrupt import ECHO_S, GRACE_S, Stop, stoppable


class Clock:
    """Stands for the time."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def silent(_: str) -> None: ...


def test_between_steps_a_signal_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        reached = []
        with stoppable() as stop:
            signal.raise_signal(number)
            reached.append("after")
        assert stop.requested and not reached
        assert capsys.readouterr().err == "stopping; press Ctrl-C again to leave at once\n"


def test_in_a_step_a_signal_waits_for_its_end() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        said: list[str] = []
        reached = []
        with stoppable() as stop:
            with stop.put_off(said.append):
                assert not stop.requested
                signal.raise_signal(number)
                reached.append("end of the step")
            assert stop.requested
            stop.leave()
            reached.append("after")
        assert reached == ["end of the step"]
        assert said == ["stopping after this step; press Ctrl-C again to leave at once"]


def test_without_a_signal_nothing_is_asked_for() -> None:
    with stoppable() as stop, stop.put_off(silent):
        pass
    assert not stop.requested and stop.status is None


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stoppable():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_was_to_be_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            signal.raise_signal(signal.SIGINT)
        assert not stop.requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_at_once_with_its_status(number: int, status: int) -> None:
    with pytest.raises(SystemExit) as left, stoppable() as stop, stop.put_off(silent):
        signal.raise_signal(signal.SIGTERM)
        stop._first_at -= ECHO_S
        signal.raise_signal(number)
        pytest.fail("the step went on")
    assert left.value.code == status
    end_watchdogs()


def test_the_echo_of_a_signal_is_not_a_second_one() -> None:
    clock = Clock()
    stop = Stop(clock)
    with stop.put_off(silent):
        stop.receive(signal.SIGTERM)
        clock.now += ECHO_S / 2
        stop.receive(signal.SIGTERM)
        assert stop.requested and stop.status is None
        clock.now += ECHO_S
        with pytest.raises(KeyboardInterrupt):
            stop.receive(signal.SIGTERM)
    assert stop.status == 143
    end_watchdogs()


def test_a_third_signal_and_a_teardown_that_hangs_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, tuple[int, ...]]] = []
    left: list[int] = []

    class Timer:
        def __init__(self, seconds: float, call, arguments) -> None:
            assert call is os._exit
            timers.append((seconds, arguments))

        def start(self) -> None: ...

    monkeypatch.setattr(threading, "Timer", Timer)
    monkeypatch.setattr(os, "_exit", left.append)
    clock = Clock()
    stop = Stop(clock)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stop.receive(signal.SIGINT)
        clock.now += 1
    assert (timers, left) == ([(GRACE_S, (130,))], [])
    with pytest.raises(KeyboardInterrupt):
        stop.receive(signal.SIGINT)
    assert left == [130]


def test_a_stream_in_use_does_not_spoil_the_step() -> None:
    def busy(_: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    stop = Stop()
    with stop.put_off(busy):
        stop.receive(signal.SIGINT)
    assert stop.requested


def test_an_error_is_not_hidden_by_a_stop() -> None:
    with pytest.raises(ValueError, match="broken"), stoppable() as stop, stop.put_off(silent):
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("broken")


def end_watchdogs() -> None:
    """They would end the test process."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
