"""How far an evaluation is: a live display in a terminal, a plain line a chunk anywhere else, all on stderr."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from rl.progress import duration, is_terminal


class EvalProgress:
    """Counts questions. Use it as a context, so that the terminal is given back whatever happens."""

    def __init__(
        self, title: str, total: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title, self._total = title, total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started_at: float | None = None
        self._bar = _bar(self._stream) if is_terminal(self._stream) else None
        self._task = self._bar.add_task(title, total=total, left="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        else:
            self._print(self._title)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def phase(self, name: str) -> None:
        """Show what is happening now; the time left is counted from the last phase."""
        self._started_at = self._clock()
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=f"{self._title} · {name}")
        else:
            self._print(name)

    def done(self, num_questions: int) -> None:
        """Show that so many questions of all have been sampled and graded."""
        assert self._started_at is not None, "phase() comes first"
        elapsed_s = self._clock() - self._started_at
        left = f"{duration(elapsed_s / num_questions * (self._total - num_questions))} left"
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=num_questions, left=left)
        else:
            self._print(f"{num_questions:>{len(str(self._total))}}/{self._total} questions  {left}")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def _bar(stream: TextIO) -> Progress:
    return Progress(
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=40),
        TextColumn("{task.completed}/{task.total} questions"),
        TextColumn("{task.fields[left]}"),
        console=Console(file=stream),
        # A piped stdout must reach its pipe, not the display.
        redirect_stdout=is_terminal(sys.stdout),
    )
