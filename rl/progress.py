"""What a person sees while a run goes on: a live display in a terminal, a plain line a step anywhere else.

Everything goes to stderr; stdout is left to what a command ends with.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class View(Protocol):
    """A step of any kind of run, as far as a person wants to know."""

    @property
    def step(self) -> int: ...

    @property
    def step_s(self) -> float: ...

    def parts(self) -> list[str]:
        """What stands in the step's line."""

    def details(self, views: Sequence[Any]) -> list[Text]:
        """What stands under the bar. views: of the same kind, of all steps so far, this one last."""


@dataclass(frozen=True)
class StepView:
    """One step of an RL run, as far as a person wants to know."""

    step: int
    reward: float
    """Mean over the rollouts."""
    correct: float
    """Share of rollouts with a reward of 1 or more."""
    num_tokens: int
    """Log-probabilities compared."""
    num_mismatched: int
    tokens_per_s: float
    step_s: float
    held_out: float | None
    """Share of held-out problems solved, where they were tried at this step."""
    loss: float
    grad_norm: float
    off_policy: str = ""
    """What of the step was off-policy, by choice; empty where nothing was."""

    def parts(self) -> list[str]:
        """Reward, speed and proof."""
        return [*_reward_parts(self), *_speed_parts(self), differ(self)]

    def details(self, views: Sequence["StepView"]) -> list[Text]:
        """Two lines: how it goes, and what the proof has come to so far."""
        return _detail_lines(views)


class Progress:
    """The display of one run. Use it as a context, so that the terminal is given back whatever happens."""

    def __init__(
        self,
        stream: TextIO | None = None,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._is_live = is_terminal(self._stream) if live is None else live
        self._clock = clock
        self._live: Live | None = None
        self._title = self._phase = self._notice = ""
        self._total_steps = 0
        self._views: list[View] = []
        self._announced: set[str] = set()
        self._last_step_at = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, total_steps: int, title: str) -> None:
        """Show `title` and begin to count towards `total_steps`."""
        self._total_steps, self._title = total_steps, title
        if not self._is_live:
            self._print(title)
            return
        self._live = Live(
            get_renderable=self._render,
            console=Console(file=self._stream),
            refresh_per_second=4,
            # A piped stdout must reach its pipe, not the display.
            redirect_stdout=is_terminal(sys.stdout),
        )
        self._live.start()

    def phase(self, name: str) -> None:
        """Show what is happening now. Plain lines name each phase once: they recur in every step."""
        self._phase = name
        if not self._is_live and name not in self._announced:
            self._announced.add(name)
            self._print(name)

    def note(self, line: str) -> None:
        """Show something out of the ordinary, above the display where there is one."""
        if self._live:
            self._live.console.print(Text(line, style="yellow"))
        else:
            self._print(line)

    def back_to(self, step: int) -> None:
        """Forget what was shown of later steps: they are done again."""
        self._views = [view for view in self._views if view.step <= step]

    def notice(self, text: str) -> None:
        """Show what will happen, until the end. A signal handler may call it."""
        self._notice = text
        if not self._is_live:
            self._print(text)

    def step(self, view: View) -> None:
        """Show a step that has just ended."""
        self._views.append(view)
        self._last_step_at = self._clock()
        if not self._is_live:
            self._print(step_line(view, self._total_steps, self._left_s()))
        if view.step == self._total_steps:
            self._announced.clear()

    def stop(self) -> None:
        """Give the terminal back; the last state stays on it."""
        if self._live:
            self._phase = ""
            self._live.stop()
            self._live = None

    def _left_s(self) -> float:
        return time_left_s([view.step_s for view in self._views], self._total_steps - self._views[-1].step)

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _render(self) -> Group:
        view = self._views[-1] if self._views else None
        left_s = max(0.0, self._left_s() - (self._clock() - self._last_step_at)) if view else None
        lines = view.details(self._views) if view else []
        return Group(
            Text(" · ".join(part for part in (self._title, self._phase, self._notice) if part), style="bold"),
            _bar(view.step if view else 0, self._total_steps, left_s),
            *lines,
        )


def step_line(view: View, total_steps: int, left_s: float) -> str:
    """Return the line for a step: `step  12/40  reward 0.42  …  0 of 1,846 differ  9 min left`."""
    step = f"{view.step:>{len(str(total_steps))}}/{total_steps}"
    return "  ".join(["step", step, *view.parts(), duration(left_s) + " left"])


def differ(view: StepView) -> str:
    """Return the proof in words: `0 of 4,096 differ`, and what was off-policy by choice."""
    proof = f"{view.num_mismatched:,} of {view.num_tokens:,} differ"
    return f"{proof}, OFF-POLICY: {view.off_policy}" if view.off_policy else proof


def time_left_s(step_times_s: list[float], num_steps_left: int) -> float:
    """Return the seconds that `num_steps_left` steps will take, by the median of the last 20."""
    return statistics.median(step_times_s[-20:]) * num_steps_left


def duration(seconds: float) -> str:
    """Return a duration as a person says it: `45 s`, `9 min`, `2 h 05 min`."""
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _reward_parts(view: StepView) -> list[str]:
    held_out = [] if view.held_out is None else [f"held out {view.held_out:.1%}"]
    return [f"reward {view.reward:.2f}", f"correct {view.correct:.0%}", *held_out]


def _speed_parts(view: StepView) -> list[str]:
    return [f"{view.tokens_per_s:,.0f} tok/s", f"{view.step_s:.1f} s"]


def _bar(step: int, total_steps: int, left_s: float | None) -> Table:
    row = Table.grid(padding=(0, 2))
    left = "" if left_s is None else f"{duration(left_s)} left"
    row.add_row(ProgressBar(total=max(1, total_steps), completed=step, width=40), f"step {step}/{total_steps}", left)
    return row


def _detail_lines(views: Sequence[StepView]) -> list[Text]:
    view, last_held_out = views[-1], [past.held_out for past in views if past.held_out is not None][-1:]
    parts = [*_reward_parts(view), *_speed_parts(view), f"loss {view.loss:.4f}", f"grad norm {view.grad_norm:.3f}"]
    if view.held_out is None and last_held_out:
        parts.append(f"held out last {last_held_out[0]:.1%}")
    num_compared, num_mismatched = sum(past.num_tokens for past in views), sum(past.num_mismatched for past in views)
    proof = f"{differ(view)}  ({num_mismatched:,} of {num_compared:,} so far)"
    return [Text("  ".join(parts)), Text(proof, style="bold red" if num_mismatched else "bold green")]


def is_terminal(stream: TextIO) -> bool:
    """Return whether lines on `stream` can be redrawn. Not rich's own answer: FORCE_COLOR makes it yes for a pipe."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
