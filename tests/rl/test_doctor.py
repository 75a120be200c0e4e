import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import rl.doctor
from kernels.linear import LinearPlan
from rl.cli import app
from rl.doctor import (
    Finding,
    configuration,
    exactness,
    examine,
    leftovers,
    library,
    machine,
    model,
    resources,
    versions,
)
from rl.doctor.finding import Verdict, mend, refused, warn
from rl.doctor.report import Report
from rl.errors import UserError


def test_a_finding_that_is_not_well_needs_a_remedy() -> None:
    with pytest.raises(AssertionError, match="a warn without a remedy"):
        warn("disk", "full", "")


def test_an_error_message_parts_into_finding_and_remedy() -> None:
    assert refused("x", "a is 1; b is 2; set c", "other") == mend("x", "a is 1; b is 2", "set c")
    assert refused("x", "a is 1", "other") == mend("x", "a is 1", "other")


STEPS = {
    versions: ("check_versions",),
    machine: ("check_machine",),
    leftovers: ("check_leftovers",),
    configuration: ("check_named", "inputs_finding", "tracker_finding"),
    library: ("check_library", "dtype_finding"),
    model: ("coverage_finding",),
    resources: ("check_resources",),
    exactness: ("certification_finding", "other_dtype_finding", "parity_finding"),
}
MACHINE = ["check_versions", "check_machine", "check_leftovers"]


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every check stands in for itself: it finds its own name, and something to mend where that is in this set."""
    names: set[str] = set()

    def check(name: str) -> Finding:
        return mend(name, "bad", "mend it") if name in names else Finding(name, "good")

    for module, functions in STEPS.items():
        for name in functions:
            answer = (lambda *args, name=name: iter([check(name)])) if name.startswith("check_") else None
            monkeypatch.setattr(module, name, answer or (lambda *args, name=name: check(name)))
    monkeypatch.setattr(exactness, "certification_finding", lambda *args: _certified(check("certification_finding")))
    there = model.Model("m", Path("m"), SimpleNamespace())
    monkeypatch.setattr(
        model, "read_model", lambda path, seed, recurrence=None: (there, Finding(f"model {path}", "good"))
    )
    return names


def _certified(finding: Finding) -> tuple[Finding, LinearPlan | None]:
    return finding, None if finding.verdict is Verdict.MEND else LinearPlan("aten", 8)


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("model: {path: mine}\n")
    return path


def subjects(items: Iterator[Finding | str]) -> list[str]:
    return [item.subject for item in items if isinstance(item, Finding)]


def test_without_config_and_model_only_the_machine_is_looked_at(bad: set[str]) -> None:
    assert subjects(examine(None, None, "auto")) == [*MACHINE, "tracker_finding", "check_library"]


def test_with_a_model_its_exactness_is_looked_at_and_no_run(bad: set[str]) -> None:
    assert subjects(examine(None, "mine", "auto"))[4:] == [
        "check_library",
        "model mine",
        "coverage_finding",
        "dtype_finding",
        "certification_finding",
        "other_dtype_finding",
        "parity_finding",
    ]


def test_with_a_config_everything_is_looked_at_cheap_things_first(bad: set[str], config_path: Path) -> None:
    assert subjects(examine(config_path, None, "auto")) == [
        *MACHINE,
        "config",
        "tracker_finding",
        "check_library",
        "check_named",
        "model mine",
        "coverage_finding",
        "dtype_finding",
        "check_resources",
        "inputs_finding",
        "certification_finding",
        "other_dtype_finding",
        "parity_finding",
    ]


def test_a_model_on_the_command_line_goes_over_the_configs(bad: set[str], config_path: Path) -> None:
    assert "model other" in subjects(examine(config_path, "other", "auto"))


@pytest.mark.parametrize(
    ("broken", "last"),
    [
        ("check_machine", "parity_finding"),
        ("check_library", "check_named"),
        ("coverage_finding", "coverage_finding"),
        ("check_resources", "parity_finding"),
        ("certification_finding", "certification_finding"),
    ],
)
def test_what_makes_the_rest_pointless_ends_it(broken: str, last: str, bad: set[str], config_path: Path) -> None:
    bad.add(broken)
    assert subjects(examine(config_path, None, "auto"))[-1] == last


def test_a_broken_config_leaves_the_model_that_is_named_beside_it(bad: set[str], config_path: Path) -> None:
    config_path.write_text("model: {path: mine}\nsteps: 0\n")
    assert subjects(examine(config_path, None, "auto"))[-1] == "check_library"
    assert subjects(examine(config_path, "other", "auto"))[-1] == "parity_finding"


def test_a_model_that_cannot_be_read_is_the_last_finding(
    bad: set[str], config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        model, "read_model", lambda path, seed, recurrence=None: (None, mend("model", "gone", "find it"))
    )
    assert subjects(examine(config_path, None, "auto"))[-1] == "model"


@pytest.mark.parametrize(
    ("asked", "configured", "dtype"),
    [
        ("auto", "auto", "float32"),
        ("auto", "bfloat16", "bfloat16"),
        ("bfloat16", "float32", "bfloat16"),
    ],
)
def test_the_dtype_is_the_one_asked_for_or_the_configs(
    asked: str, configured: str, dtype: str, bad: set[str], config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rl.models.has_fast_bfloat16", lambda: False)
    monkeypatch.setattr(exactness, "parity_finding", lambda model, dtype, plan: Finding(f"parity {dtype}", ""))
    config_path.write_text(f"model: {{path: mine}}\ntrainer: {{dtype: {configured}}}\n")
    assert subjects(examine(config_path, None, asked))[-1] == f"parity {dtype}"


def test_an_unknown_dtype_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="--dtype must be auto or bfloat16 or float32, got 'fp16'"):
        next(examine(None, None, "fp16"))


def report_of(*findings: Finding) -> tuple[list[str], bool]:
    stream = io.StringIO()
    with Report(stream) as report:
        for finding in findings:
            report.add(finding)
    is_fit = report.conclude()
    return [line.rstrip() for line in stream.getvalue().splitlines()], is_fit


def test_findings_read_so() -> None:
    lines, is_fit = report_of(
        Finding("cores", "2"), warn("tracker", "nobody", "wandb login"), mend("torch", "no CPU build", "make setup")
    )
    assert [line.split() for line in lines] == [
        ["looked", "at", "found", "what", "to", "do"],
        ["cores", "2", "ok"],
        ["tracker", "nobody", "warn", "wandb", "login"],
        ["torch", "no", "CPU", "build", "mend", "make", "setup"],
        [],
        ["1", "to", "mend,", "1", "warning,", "1", "ok"],
    ]
    assert not is_fit
    assert len({line.index(verdict) for line, verdict in zip(lines[1:4], ("ok", "warn", "mend"), strict=True)}) == 1


def test_warnings_alone_leave_it_fit() -> None:
    lines, is_fit = report_of(warn("a", "b", "c"), warn("d", "e", "f"))
    assert is_fit
    assert lines[-1] == "0 to mend, 2 warnings, 0 ok"


def test_what_is_too_long_for_its_column_is_whole_and_not_taken_for_markup() -> None:
    remedy = "rm " + "/a/long/path/[red]/" * 20 + "lock"
    lines, _ = report_of(warn("a" * 30, "x", remedy))
    shown = "".join(line.split("warn", 1)[-1].strip() for line in lines[1:-2])
    assert remedy.replace(" ", "") in shown.replace(" ", "").removeprefix("a" * 12)


@pytest.mark.parametrize(("is_fit", "status"), [(True, 0), (False, 1)])
def test_the_exit_status_says_whether_something_needs_mending(
    is_fit: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(rl.doctor, "diagnose", lambda *args: asked.append(args) or is_fit)
    assert CliRunner().invoke(app, ["doctor", "c.yaml", "--model", "m", "--dtype", "float32"]).exit_code == status
    assert CliRunner().invoke(app, ["doctor"]).exit_code == status
    assert asked == [(Path("c.yaml"), "m", "float32"), (None, None, "auto")]


def test_a_wrong_option_is_bad_input() -> None:
    assert CliRunner().invoke(app, ["doctor", "--dtype", "fp16"]).exit_code == 2


def test_findings_are_printed_as_they_come(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def examine(*args: object) -> Iterator[Finding | str]:
        yield "something"
        yield Finding("first", "")
        seen.append(capsys.readouterr().out)
        yield mend("second", "bad", "mend it")

    monkeypatch.setattr(rl.doctor, "examine", examine)
    assert rl.doctor.diagnose(None, None, "auto") is False
    assert "first" in seen[0] and "second" in capsys.readouterr().out
