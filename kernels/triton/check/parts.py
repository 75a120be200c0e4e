"""Parts of a check, one after the other: one that fails or finds no time leaves the others alone."""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from kernels.triton.check.findings import Failure, Finding, Skipped

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A part and what computes its findings, as they come."""

    name: str
    measure: Callable[[], Iterable[Finding]]


@dataclass
class Log:
    """All findings so far."""

    limit_s: float = float("inf")
    """Since the log began; parts that would begin later are skipped."""
    say: Callable[[str], None] = print
    now: Callable[[], float] = time.monotonic
    entries: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self.now()

    @property
    def elapsed_s(self) -> float:
        return self.now() - self._began

    def of(self, kind: type[T]) -> list[T]:
        """The findings of one kind, in order."""
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def run(self, parts: Iterable[Part], share: float = 1.0) -> None:
        """Does the parts that begin within `share` of the time limit; what one finds before it fails is kept."""
        for part in parts:
            if self.elapsed_s > share * self.limit_s:
                reason = f"out of time: it would have begun after {share * self.limit_s:.0f} s"
                self.entries.append(Skipped(part.name, reason))
                continue
            started = self.elapsed_s
            outcome = self._outcome(part)
            self.say(f"{self.elapsed_s:6.1f} s  {part.name}: {outcome} ({self.elapsed_s - started:.1f} s)")

    def _outcome(self, part: Part) -> str:
        try:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # here and not at the end: where a kernel broke the device, it raises
            for finding in part.measure():
                self.entries.append(finding)
        except torch.OutOfMemoryError as error:
            self.entries.append(Skipped(part.name, f"not enough memory: {_first_line(error)}"))
            return "not enough memory"
        except Exception as error:  # compilers, drivers and kernels raise what they like, and the rest must go on
            self.entries.append(Failure(part.name, _first_line(error), traceback.format_exc()))
            return f"FAILED, {_first_line(error)}"
        return "done"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
