"""Ctrl-C and SIGTERM: the first lets a run stop where it can go on later, the second ends it at once.

between steps    first signal ── KeyboardInterrupt ──> what was started is ended, exit 0
in a step        first signal ── `requested` ────────> the loop stops after the step, exit 0
any time         second signal ─ KeyboardInterrupt ──> what was started is ended, exit 130 or 143
                 third signal, or GRACE_S later ─────> the process ends as it stands, same exit

A KeyboardInterrupt and nothing else: Ray lets only that through when a signal comes while it waits.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_S = 0.5
"""A signal that comes so soon after the first is the same one, sent to the process and to its group (timeout(1))."""
GRACE_S = 5.0
"""What ending everything may take after a second signal."""

_AGAIN = "press Ctrl-C again to leave at once"


class Stop:
    """Whether a run was asked to stop. By itself it never is; `stoppable` lets signals ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.requested = False
        self.status: int | None = None
        """The exit status where the run is to be left at once."""
        self._clock = clock
        self._first_at = 0.0
        self._notice: Callable[[str], None] | None = None

    @contextmanager
    def put_off(self, notice: Callable[[str], None]) -> Iterator[None]:
        """A step: a first signal inside only sets `requested`, and `notice` is told what will happen."""
        self._notice = notice
        try:
            yield
        finally:
            self._notice = None

    def leave(self) -> NoReturn:
        """Ends the run where it stands, on the way that a signal between steps takes."""
        raise KeyboardInterrupt

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler."""
        if not self.requested:
            self.requested, self._first_at = True, self._clock()
            with suppress(RuntimeError):  # the signal came while the same stream was being written to
                (self._notice or _print)(f"stopping{' after this step' if self._notice else ''}; {_AGAIN}")
            if self._notice is None:
                raise KeyboardInterrupt
        elif self._clock() - self._first_at >= ECHO_S:
            self._leave_at_once(128 + number)

    def _leave_at_once(self, status: int) -> None:
        if self.status is not None:
            os._exit(status)
        self.status = status
        watchdog = threading.Timer(GRACE_S, os._exit, (status,))
        watchdog.daemon = True
        watchdog.start()
        raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """A Stop that signals ask, for a block that ends quietly where they did; `requested` says so afterwards.

    Raises SystemExit with 130 or 143 after a second signal. A signal that the process was started to ignore, as in the
    background of a script, stays ignored.
    """
    stop = Stop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop.receive)
    try:
        yield stop
    except KeyboardInterrupt:
        if stop.status is not None:
            raise SystemExit(stop.status) from None
    finally:
        for number in SIGNALS:
            signal.signal(number, before[number])


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
