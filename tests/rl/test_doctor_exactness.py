import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import transformers

import kernels.certify
import kernels.coverage
import rl.canonical_model
from kernels.certify import CertificationError
from kernels.linear import LinearPlan
from rl.doctor import Verdict
from rl.doctor.exactness import SPOT_ROWS, certification_finding, other_dtype_finding, parity_finding
from rl.doctor.model import Model, coverage_finding, read_model
from rl.models import resolve_model


@dataclass(frozen=True)
class ParityReport:
    num_tokens: int
    num_mismatched: int
    problems: tuple[str, ...]
    seconds: float = 3.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = resolve_model("tiny:llama", tmp_path_factory.mktemp("models"), seed=0)
    found, _ = read_model(str(folder), seed=0)
    assert found is not None
    return found


def test_a_model_says_what_it_is(model: Model) -> None:
    found, finding = read_model(str(model.folder), seed=0)
    assert found is not None and found.folder == model.folder
    assert (finding.verdict, finding.found) == (
        Verdict.OK,
        f"llama, 0.1 million parameters, in {model.folder}",
    )


def test_a_model_that_is_not_there_is_one_finding() -> None:
    found, finding = read_model("./nowhere", seed=0)
    assert found is None
    assert finding.verdict is Verdict.MEND and "./nowhere" in finding.found


def test_a_checkpoint_that_predicts_no_tokens_is_refused_with_a_reason(tmp_path: Path) -> None:
    transformers.ViTConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    found, finding = read_model(str(tmp_path), seed=0)
    assert found is None
    assert finding.verdict is Verdict.MEND and "ViTConfig" in finding.found


def test_what_the_ops_do_not_cover_is_listed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert coverage_finding(model, None).verdict is Verdict.OK
    asked = []

    def uncovered(skeleton: object, max_model_len: int | None) -> list[str]:
        asked.append((skeleton, max_model_len))
        return ["it routes tokens", "it has sinks"]

    monkeypatch.setattr(kernels.coverage, "uncovered", uncovered)
    finding = coverage_finding(model, 64)
    assert asked == [(model.skeleton, 64)]
    assert (finding.verdict, finding.found) == (Verdict.MEND, "it routes tokens; it has sinks")


def certified(monkeypatch: pytest.MonkeyPatch, plan: LinearPlan | Exception) -> list[tuple[object, ...]]:
    """What was asked of a certification that ends in `plan`."""
    asked: list[tuple[object, ...]] = []

    def certify(*args: object, **kwargs: object) -> LinearPlan:
        asked.append((*args, *kwargs.values()))
        if isinstance(plan, Exception):
            raise plan
        return plan

    monkeypatch.setattr(rl.canonical_model, "certified_plan", certify)
    monkeypatch.setattr(kernels.certify, "certify_linear", certify)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    return asked


def test_the_first_plan_that_holds_is_named_with_what_was_tried(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = certified(monkeypatch, LinearPlan("onednn", 1))
    finding, plan = certification_finding(model, "float32", 64)
    assert plan == LinearPlan("onednn", 1)
    assert asked == [(str(model.folder), "float32", 64)]
    assert (finding.subject, finding.verdict) == ("linear, float32", Verdict.OK)
    # 128 x 64, 64 x 64 and 64 x 128: some of its layers have the same
    assert finding.found == (
        "onednn keeps every row's bits in 3 shapes, at 36 row counts up to 511 and as many positions, "
        "on 1 and 3 threads"
    )


def test_plans_that_were_passed_over_are_counted(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    certified(monkeypatch, LinearPlan("aten", 8))
    found = certification_finding(model, "float32", None)[0].found
    assert found.startswith("aten in multiples of 8 rows keeps") and found.endswith("; 2 faster do not")


PLAN = LinearPlan("aten", 8)
FAILED = CertificationError("no linear implementation is batch-invariant; set trainer.dtype to float32")


def test_a_dtype_without_a_plan_has_to_be_mended(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    certified(monkeypatch, FAILED)
    finding, plan = certification_finding(model, "bfloat16", None)
    assert plan is None
    assert (finding.verdict, finding.remedy) == (Verdict.MEND, "set trainer.dtype to float32")


@pytest.mark.parametrize(("dtype", "other"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_the_other_dtype_is_spot_checked(dtype: str, other: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = certified(monkeypatch, LinearPlan("onednn", 8))
    finding = other_dtype_finding(model, dtype)
    assert (finding.subject, finding.verdict) == (f"linear, {other}", Verdict.OK)
    (shapes, tried, rows), *_ = asked
    assert (128, 64) in shapes and str(tried) == f"torch.{other}" and rows == SPOT_ROWS  # type: ignore[operator]
    assert "19 row counts up to 64" in finding.found


def test_the_other_dtype_without_a_plan_is_only_a_warning(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    certified(monkeypatch, FAILED)
    finding = other_dtype_finding(model, "float32")
    assert (finding.verdict, finding.remedy) == (Verdict.WARN, "keep trainer.dtype at float32")


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands in for `rl.parity`."""
    module = ModuleType("rl.parity")
    monkeypatch.setitem(sys.modules, "rl.parity", module)
    return module


def test_a_comparison_without_a_difference_is_well(model: Model, parity: ModuleType) -> None:
    asked = []
    parity.check_parity = lambda *args: asked.append(args) or ParityReport(1168, 0, ())  # type: ignore[attr-defined]
    finding = parity_finding(model, "bfloat16", PLAN)
    assert asked == [(model.folder, "bfloat16", PLAN)]
    assert (finding.subject, finding.verdict) == ("parity, bfloat16", Verdict.OK)
    assert finding.found == "0 of 1,168 log-probabilities differ, after 3 s"


@pytest.mark.parametrize(
    "report", [ParityReport(1168, 2, ("decode, position 3: 0x1p-1",)), ParityReport(0, 0, ("nothing was compared",))]
)
def test_a_difference_or_a_problem_has_to_be_mended(report: ParityReport, model: Model, parity: ModuleType) -> None:
    parity.check_parity = lambda *args: report  # type: ignore[attr-defined]
    finding = parity_finding(model, "float32", PLAN)
    assert finding.verdict is Verdict.MEND
    assert finding.found.endswith(f"; {report.problems[0]}")


def test_the_error_of_a_worker_is_told_in_its_own_words(model: Model, parity: ModuleType) -> None:
    from ray.exceptions import RayTaskError

    def fail(*args: object) -> ParityReport:
        raise RayTaskError("start", "a long traceback", ValueError("its heads have 48 elements"))

    parity.check_parity = fail  # type: ignore[attr-defined]
    finding = parity_finding(model, "float32", PLAN)
    assert (finding.verdict, finding.found) == (Verdict.MEND, "its heads have 48 elements")
