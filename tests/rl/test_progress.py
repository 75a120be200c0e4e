import io
from dataclasses import replace

import pytest

from rl.progress import Progress, StepView, duration, step_line, time_left_s

VIEW = StepView(
    step=12,
    reward=0.421,
    correct=0.38,
    num_tokens=1846,
    num_mismatched=0,
    tokens_per_s=412.3,
    step_s=18.2,
    held_out=None,
    loss=0.0123,
    grad_norm=0.5,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_step_is_one_plain_line() -> None:
    assert step_line(VIEW, 40, 540.0) == (
        "step  12/40  reward 0.42  correct 38%  412 tok/s  18.2 s  0 of 1,846 differ  9 min left"
    )


def test_held_out_accuracy_is_shown_at_the_steps_that_have_it() -> None:
    assert "correct 38%  held out 61.5%  412" in step_line(replace(VIEW, held_out=0.615), 40, 540.0)


def test_steps_line_up() -> None:
    assert step_line(replace(VIEW, step=3), 40, 0.0).startswith("step   3/40  ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (540, "9 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_is_the_median_of_recent_steps_times_those_left() -> None:
    assert time_left_s([10.0, 12.0, 600.0], 5) == 60.0
    assert time_left_s([100.0] * 30 + [10.0] * 20, 2) == 20.0


def test_without_a_terminal_every_step_is_a_line_and_a_phase_is_named_once() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.start(40, "tiny")
        for phase in ("starting vLLM", "sampling", "training"):
            progress.phase(phase)
        progress.step(VIEW)
        for phase in ("sampling", "training"):
            progress.phase(phase)
        progress.step(replace(VIEW, step=13, num_mismatched=2, step_s=10.0))
    lines = stream.getvalue().splitlines()
    assert lines[:4] == ["tiny", "starting vLLM", "sampling", "training"]
    assert lines[4].startswith("step  12/40") and lines[4].endswith("0 of 1,846 differ  8 min left")
    assert lines[5].endswith("2 of 1,846 differ  6 min left")
    assert len(lines) == 6


def test_what_is_out_of_the_ordinary_is_a_line_each_time() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for _ in range(2):
        progress.note("rollout actor 1 was lost")
    assert stream.getvalue().splitlines() == ["rollout actor 1 was lost"] * 2


def test_a_terminal_keeps_what_is_out_of_the_ordinary_above_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(stream) as progress:
        progress.start(40, "tiny")
        progress.note("rollout actor 1 was lost")
    shown = stream.getvalue()
    assert shown.count("rollout actor 1 was lost") == 1
    assert shown.rindex("rollout actor 1 was lost") < shown.rindex("step 0/40")


def test_steps_that_are_done_again_are_counted_once() -> None:
    progress = Progress(io.StringIO())
    progress.start(40, "tiny")
    progress.step(VIEW)
    progress.step(replace(VIEW, step=13))
    progress.back_to(12)
    progress.step(replace(VIEW, step=13))
    assert [view.step for view in progress._views] == [12, 13]


def test_a_phase_after_the_last_step_is_named_again() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.start(12, "tiny")
    progress.phase("evaluating")
    progress.step(VIEW)
    progress.phase("evaluating")
    assert stream.getvalue().splitlines()[-1] == "evaluating"


def test_a_terminal_shows_title_phase_step_and_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with Progress(stream, clock=lambda: 0.0) as progress:
        progress.start(40, "demo [grpo]")
        progress.phase("training")
        progress.step(replace(VIEW, held_out=0.35))
        progress.step(replace(VIEW, step=13))
    shown = stream.getvalue()
    assert "demo [grpo]" in shown and "step 13/40" in shown and "8 min left" in shown
    assert "held out last 35.0%" in shown
    assert "0 of 1,846 differ  (0 of 3,692 so far)" in shown


def test_a_terminal_is_given_back_when_the_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with pytest.raises(RuntimeError), Progress(stream) as progress:
        progress.start(40, "demo")
        raise RuntimeError
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().rfind(show) > stream.getvalue().rfind(hide) > -1


def test_a_pipe_gets_plain_lines_even_where_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.start(40, "demo")
        progress.step(VIEW)
    assert "\x1b" not in stream.getvalue()


def test_a_notice_is_a_line_or_stays_in_the_display() -> None:
    stream, terminal = io.StringIO(), Terminal()
    for progress in (Progress(stream), Progress(terminal, live=True)):
        with progress:
            progress.start(40, "tiny")
            progress.notice("stopping after this step")
            progress.phase("training")
    assert stream.getvalue().splitlines() == ["tiny", "stopping after this step", "training"]
    assert "tiny · stopping after this step" in terminal.getvalue()
