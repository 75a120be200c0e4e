import io

import pytest

from rl.evaluation.progress import EvalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock_of(*times_s: float):
    moments = iter(times_s)
    return lambda: next(moments)


def test_without_a_terminal_every_chunk_is_a_line_with_the_time_left() -> None:
    stream = io.StringIO()
    with EvalProgress("tiny on sums", 200, stream, clock_of(0.0, 100.0, 110.0, 160.0)) as progress:
        progress.phase("starting vLLM")
        progress.phase("sampling")
        progress.done(32)
        progress.done(200)
    assert stream.getvalue().splitlines() == [
        "tiny on sums",
        "starting vLLM",
        "sampling",
        " 32/200 questions  52 s left",
        "200/200 questions  0 s left",
    ]


def test_a_terminal_shows_title_phase_count_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with EvalProgress("tiny [sums]", 200, stream, clock_of(0.0, 10.0)) as progress:
        progress.phase("sampling")
        progress.done(50)
    shown = stream.getvalue()
    assert "tiny [sums] · sampling" in shown and "50/200 questions" in shown and "30 s left" in shown


def test_a_terminal_is_given_back_when_sampling_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with pytest.raises(RuntimeError), EvalProgress("tiny", 200, stream):
        raise RuntimeError
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().rfind(show) > stream.getvalue().rfind(hide) > -1
