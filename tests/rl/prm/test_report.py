"""The report of two made-up fits."""

import dataclasses
import json

import numpy as np
import pytest

from reward.drift import Reference, read_reference
from reward.prm.families import make_family
from reward.prm.recalibration import RECALIBRATION_FILE, load_recalibration
from rl.prm.config import load_prm_config
from rl.prm.examples import Counting, by_question, outcomes_of, places_of, read_solutions
from rl.prm.figures import AS_LEARNED, RECALIBRATED, Places, Read, fit_figures, oracle_figures
from rl.prm.fit import FitPlan, fit_plans, job_of
from rl.prm.folder import Prefix, QuestionData, Trajectory
from rl.prm.measure import Fitted, Known, Measured, MeasuredFit, _write_beside
from rl.prm.page import render_page
from rl.prm.report import summary_of, write_report
from rl.prm.summary import render
from rl.supervised.job import Summary

from ..commands import REPO
from .drawn import rewards

NUM_QUESTIONS = 12


def question(index, cutter):
    """Two solutions, the first finished and right for even questions; more rollouts succeed the higher its number."""
    encode, end = cutter._tokenizer.encode, cutter._tokenizer.eos_token_id
    first, second = (*encode("1\n2"), end), tuple(encode("1\n3"))
    return QuestionData(
        f"q{index}",
        tuple(encode("1+1")),
        (Trajectory(first, True, float(index % 2 == 0), (0, 2, 4)), Trajectory(second, False, None, (0, 2))),
        (Prefix(0, 0, rewards(index % 4), (4,) * 4, ""), Prefix(0, 2, rewards((index + 1) % 4), (4,) * 4, "")),
    )


@pytest.fixture(scope="module")
def measured(cutter, tmp_path_factory):
    config = load_prm_config(REPO / "configs" / "tiny_prm.yaml", ["collect.num_questions=12", "variants=[]"])
    questions = [question(index, cutter) for index in range(NUM_QUESTIONS)]
    test = tuple(read_solutions(questions, cutter, Counting(1.0, 4)))
    ends, is_final = places_of(test)
    truth = np.linspace(0.05, 0.95, len(ends))
    places = Places(outcomes_of(test), ends, is_final, truth, np.tile([0.1, 0.5, 0.9], (len(ends), 1)))
    figures = []
    for seed, family in enumerate(("beta", "pinball")):
        made = make_family(family, config.prm.quantiles)
        said = np.random.default_rng(seed).normal(size=(len(ends), made.num_parameters))
        figures.append(fit_figures(made, Read(places, said), Read(places, said)))
    losses = [{"calibration/loss": 1.5}, {"calibration/loss": 1.25}]
    summary = Summary(3, 100, 5.0, 1.0, *losses, "ab" * 32, tmp_path_factory.mktemp("run"), 9.0, 0)
    plans = [FitPlan("main", "beta", 4), FitPlan("<paper>", "pinball", 2)]
    fits = [MeasuredFit(Fitted(p, summary, {"test": test}), f) for p, f in zip(plans, figures, strict=True)]
    counts = {"train": 7, "calibration": 3, "test": 12}
    known = Known(1e-16, oracle_figures(places, config.prm.quantiles))
    return Measured(config, tuple(questions), counts, test, 2.0, tuple(fits), known)


def test_the_summary_has_every_figure(measured):
    summary = summary_of(measured)
    assert summary["data"]["num_prefixes"] == 2 * NUM_QUESTIONS
    assert summary["data"]["finished"] == 0.5 and summary["data"]["accuracy"] == 0.25
    assert summary["data"]["sampled_tokens"] == NUM_QUESTIONS * (4 + 3 + 2 * 16)
    assert [fit["name"] for fit in summary["fits"]] == ["main", "<paper>"]
    for fit in summary["fits"]:
        assert fit["calibration_loss"] == [1.5, 1.25]
        estimators = {"mean, as learned", "mean, recalibrated", "temperature", "isotonic", "base rate"}
        assert estimators < set(fit["estimators"])
        for report in fit["quantiles"].values():
            assert [level["level"] for level in report["coverage"]] == [0.1, 0.5, 0.9]
            assert report["crossing_rate"] == 0 and report["num_places"] == 4 * NUM_QUESTIONS
            assert report["pinball_oracle"]["value"] > 0
    assert summary["truth"]["missing"] == 1e-16


def test_it_is_written_and_written_again_to_the_same_bytes(measured, tmp_path):
    contents = []
    for name in ("first", "second"):
        write_report(measured, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"index.html", "summary.json", "reliability.png", "coverage.png", "brier.png"}
    assert json.loads(contents[0]["summary.json"]) == json.loads(json.dumps(summary_of(measured)))
    page = contents[0]["index.html"].decode()
    assert "&lt;paper&gt;" in page and "<paper>" not in page


@pytest.mark.parametrize(("recalibrate", "name"), [(True, RECALIBRATED), (False, AS_LEARNED)])
def test_a_model_is_served_as_its_plan_says_and_its_calibration_is_that_of_what_is_served(
    measured, tmp_path, recalibrate, name
):
    fit = measured.fits[0]
    plan = dataclasses.replace(fit.fitted.plan, recalibrate=recalibrate)
    summary = dataclasses.replace(fit.fitted.summary, run_dir=tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / RECALIBRATION_FILE).write_text("left over")
    _write_beside(
        MeasuredFit(dataclasses.replace(fit.fitted, plan=plan, summary=summary), fit.figures), measured.config
    )
    assert load_recalibration(tmp_path / "model") == (fit.figures.recalibration if recalibrate else None)
    reference, said = read_reference(tmp_path / "model"), fit.figures.first_step[name]
    assert reference == Reference(said.brier - said.noise, said.standard_error, NUM_QUESTIONS)


def test_what_a_run_says_at_its_end_names_every_fit(measured):
    said = render(measured)
    assert "main, Brier" in said and "<paper>, coverage of truth" in said and "estimated" not in said


def test_where_the_truth_is_not_known_its_estimated_coverage_stands_everywhere(measured):
    covered = {AS_LEARNED: (0.111, 0.5, 0.9), RECALIBRATED: (0.123, 0.5, 0.9)}
    figures = dataclasses.replace(measured.fits[0].figures, estimated_coverage=covered)
    hidden = dataclasses.replace(measured, fits=(MeasuredFit(measured.fits[0].fitted, figures),), known=None)
    assert "main, estimated coverage  0.1: 12.3 %, 0.5: 50.0 %, 0.9: 90.0 %" in render(hidden)
    summary = summary_of(hidden)
    assert summary["fits"][0]["estimated_coverage"] == {AS_LEARNED: [0.111, 0.5, 0.9], RECALIBRATED: [0.123, 0.5, 0.9]}
    assert "11.1, 50.0, 90.0 % (as learned)" in " ".join(render_page(hidden, summary).split())


def test_every_variant_is_a_fit_in_a_folder_of_its_own(tmp_path):
    overrides = [
        f"run.dir={tmp_path}",
        "variants=[{name: a, family: pinball, recalibrate: false}, {name: b, family: beta, num_rollouts: 2}]",
    ]
    plans = fit_plans(load_prm_config(REPO / "configs" / "tiny_prm.yaml", overrides))
    assert plans == [
        FitPlan("main", "beta", 4),
        FitPlan("a", "pinball", 4, recalibrate=False),
        FitPlan("b", "beta", 2),
    ]
    folders = [plan.folder(tmp_path).path for plan in plans]
    assert folders == [tmp_path, tmp_path / "variants" / "a", tmp_path / "variants" / "b"]


def test_a_fit_goes_through_the_questions_as_often_as_it_is_told(measured, cutter):
    from rl.prm.fit import Backbone

    config = load_prm_config(REPO / "configs" / "tiny_prm.yaml", ["epochs=3", "batch_size=4"])
    parts = {"train": measured.test, "calibration": measured.test}
    job = job_of(config, FitPlan("main", "beta", 4), Backbone(REPO, None, "float32"), parts)
    assert job.steps == 9
    asked = [example for step in (1, 2, 3) for example in job.batches.batch(step)]
    assert sorted(asked, key=str) == sorted(by_question(measured.test), key=str)
