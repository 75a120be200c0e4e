"""Calls to other processes: asked by name, waited for up to a deadline, and a lost process told from an error.

ask ──> process ──┬─ its answer
                  ├─ an error of the work itself: raised as it is, and never asked again
                  └─ dead, or silent past its deadline: ProcessLost
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions

MAX_RESTARTS = 3
ECHO_S = 5.0
"""Within this time Ray reports a death that another process noticed first."""

_DEAD = (
    exceptions.RayActorError,
    exceptions.WorkerCrashedError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
)


class ProcessLost(RuntimeError):
    """A process died, or was silent past its deadline. The message names it, what it was doing and for how long."""

    def __init__(self, who: str, what: str, after_s: float, why: str):
        verb = "were" if " and " in who else "was"
        super().__init__(f"{who} {verb} lost while {what}, after {after_s:.0f} s: {why}")


class InputLost(ProcessLost):
    """What the process was to read is gone with the process that made it; it is well itself."""


class TooManyLosses(RuntimeError):
    """A process was lost again and again, so that it was given up."""


@dataclass(frozen=True)
class Call:
    """A call that is under way."""

    who: str
    """`rollout actor 1`."""
    what: str
    """`sampling`."""
    reference: Any
    """Ray's, to the answer."""
    asked_at: float
    due_at: float
    """Both on `time.monotonic`."""


def call(who: str, what: str, reference: Any, within_s: float) -> Call:
    """The call whose answer is `reference`, with `within_s` from here on."""
    now = time.monotonic()
    return Call(who, what, reference, now, now + within_s)


def gather(calls: Sequence[Call]) -> list[Any]:
    """The answers, in order, of processes that depend on each other.

    Raises ProcessLost as soon as one of them is lost. An error of one may only be the echo of another's death, so a
    death that Ray reports shortly after goes before it.
    """
    answers: dict[int, Any] = {}
    waiting = dict(enumerate(calls))
    while waiting:
        done = settled(list(waiting.values()))
        if not all(map(_is_ready, done)):
            raise _silent([c for c in waiting.values() if not _is_ready(c)])
        for index in [i for i, c in waiting.items() if c in done]:
            try:
                answers[index] = answer(waiting.pop(index))
            except ProcessLost:
                raise
            except Exception as error:
                raise _lost_among(list(waiting.values())) or error from None
    return [answers[index] for index in range(len(calls))]


def settled(calls: Sequence[Call]) -> list[Call]:
    """Those that are answered, failed or overdue, once there is one."""
    references = [c.reference for c in calls]
    left_s = min(c.due_at for c in calls) - time.monotonic()
    ray.wait(references, num_returns=1, timeout=max(0.0, left_s))
    ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
    now = time.monotonic()
    return [c for c in calls if c.reference in ready or c.due_at <= now]


def answer(call: Call) -> Any:
    """What the process answered. Raises ProcessLost, or the error of the work itself."""
    try:
        return ray.get(call.reference, timeout=max(0.0, call.due_at - time.monotonic()))
    except exceptions.GetTimeoutError:
        raise _silent([call]) from None
    except exceptions.RayTaskError as error:
        if isinstance(error, exceptions.ObjectLostError):
            raise InputLost(call.who, call.what, _since(call), "what it was to read is gone") from error
        raise
    except _DEAD as error:
        if getattr(error, "actor_init_failed", False):
            raise
        raise ProcessLost(call.who, call.what, _since(call), f"it died ({_reason(error)})") from error


class Patience:
    """How often in a row a process may be lost: three times, with 1, 2 and 4 s to the restart."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._num_lost = 0

    def spend(self, lost: Exception) -> None:
        """Nothing, once it is time to restart. Raises TooManyLosses when that has been tried often enough."""
        self._num_lost += 1
        if self._num_lost > MAX_RESTARTS:
            raise TooManyLosses(
                f"{lost}; that was loss {self._num_lost} in a row, so it is given up. A machine that is short of "
                "memory kills processes; Ray's logs say more"
            ) from lost
        self._say(f"{lost}; restarting, {self._num_lost} of {MAX_RESTARTS}")
        time.sleep(2.0 ** (self._num_lost - 1))

    def renew(self) -> None:
        """Nothing; something was done, so the count begins anew."""
        self._num_lost = 0


def _is_ready(call: Call) -> bool:
    return bool(ray.wait([call.reference], timeout=0)[0])


def _lost_among(calls: Sequence[Call]) -> ProcessLost | None:
    """The first of `calls` whose process turns out to be dead."""
    if calls:
        ray.wait([c.reference for c in calls], num_returns=len(calls), timeout=ECHO_S)
    for other in filter(_is_ready, calls):
        try:
            answer(other)
        except ProcessLost as lost:
            return lost
        except Exception:  # an echo as well
            continue
    return None


def _silent(calls: Sequence[Call]) -> ProcessLost:
    who = " and ".join(c.who for c in calls)
    return ProcessLost(who, calls[0].what, _since(calls[0]), "no answer in all that time")


def _since(call: Call) -> float:
    return time.monotonic() - call.asked_at


def _reason(error: Exception) -> str:
    """Ray's message, without what it says at length about every death."""
    last = "".join([line for line in str(error).splitlines() if line.strip()][-1:])
    said = last.split("Worker exit detail: ")[-1].split(" Some common causes")[0]
    return said.strip().rstrip(".") or type(error).__name__
