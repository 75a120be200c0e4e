"""Reads the questions that no fit was trained on, recalibrates, and gathers every figure of the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reward.prm.calibration import QuantileReport
from reward.prm.families import make_family
from reward.prm.recalibration import RECALIBRATION_FILE, save_recalibration
from reward.prm.serving import CALIBRATION_FILE
from rl.durable import write_atomically
from rl.prm.config import TrainPRMConfig
from rl.prm.draw import data_folder
from rl.prm.examples import ReadSolution, outcomes_of, places_of
from rl.prm.figures import AS_LEARNED, RECALIBRATED, FitFigures, Places, Read, fit_figures, oracle_figures
from rl.prm.fit import FitPlan
from rl.prm.folder import QuestionData
from rl.prm.inputs import Inputs
from rl.prm.known.places import KnownPlaces, known_places
from rl.prm.known.task import is_known
from rl.prm.predict import predict
from rl.supervised.job import Summary


@dataclass(frozen=True)
class Fitted:
    """A fit whose model is written."""

    plan: FitPlan
    summary: Summary
    parts: Mapping[str, tuple[ReadSolution, ...]]
    """Its solutions by what their questions are for."""


@dataclass(frozen=True)
class Known:
    """What the truth adds, where it is known."""

    missing: float
    """The largest probability that the enumeration of any question leaves out."""
    oracle: QuantileReport
    """Of the best quantiles that can be said without the question's hidden rates."""


@dataclass(frozen=True)
class MeasuredFit:
    """A fit with its figures."""

    fitted: Fitted
    figures: FitFigures


@dataclass(frozen=True)
class Measured:
    """Everything that the report says."""

    config: TrainPRMConfig
    questions: tuple[QuestionData, ...]
    num_questions: Mapping[str, int]
    """By what they are for."""
    test: tuple[ReadSolution, ...]
    drawing_s: float
    fits: tuple[MeasuredFit, ...]
    """The main one first."""
    known: Known | None


def measure(
    config: TrainPRMConfig, inputs: Inputs, questions: Sequence[QuestionData], fitted: Sequence[Fitted]
) -> Measured:
    """All figures; afterwards every model's folder holds its recalibration, where its plan has one, and how well it is
    calibrated. Ray is up."""
    truth = _truth(config, inputs) if is_known(config.model.path) else None
    fits = tuple(MeasuredFit(fit, _figures(config, inputs, fit, truth)) for fit in fitted)
    for fit in fits:
        _write_beside(fit, config)
    test = fitted[0].parts["test"]
    return Measured(
        config=config,
        questions=tuple(questions),
        num_questions={part: len(ids) for part, ids in inputs.parts.items()},
        test=test,
        drawing_s=data_folder(config).wall_s(),
        fits=fits,
        known=_known(config, test, truth) if truth else None,
    )


def _truth(config: TrainPRMConfig, inputs: Inputs) -> KnownPlaces:
    return known_places(inputs.prompts, inputs.policy_dir, inputs.backbone.dtype, data_folder(config).path)


def _figures(config: TrainPRMConfig, inputs: Inputs, fit: Fitted, truth: KnownPlaces | None) -> FitFigures:
    calibration, test = fit.parts["calibration"], fit.parts["test"]
    parameters = predict(fit.summary.run_dir / "model", inputs.backbone.dtype, [*calibration, *test])
    family = make_family(fit.plan.family, config.prm.quantiles)
    places, test_places = _places(calibration), _places(test)
    if truth:
        test_places = _with_truth(test_places, test, truth, family.levels)
    cut = len(places.ends)
    return fit_figures(family, Read(places, parameters[:cut]), Read(test_places, parameters[cut:]))


def _places(solutions: Sequence[ReadSolution]) -> Places:
    ends, is_final = places_of(solutions)
    return Places(outcomes_of(solutions), ends, is_final)


def _with_truth(
    places: Places, solutions: Sequence[ReadSolution], truth: KnownPlaces, levels: Sequence[float]
) -> Places:
    return replace(places, truth=truth.chances(solutions), oracle=truth.oracle(solutions, levels))


def _known(config: TrainPRMConfig, test: Sequence[ReadSolution], truth: KnownPlaces) -> Known:
    levels = tuple(config.prm.quantiles)
    return Known(truth.truth.missing, oracle_figures(_with_truth(_places(test), test, truth, levels), levels))


def _write_beside(fit: MeasuredFit, config: TrainPRMConfig) -> None:
    """Nothing; the model's folder says how it is recalibrated, and for whom and how well calibrated it is as served."""
    folder: Path = fit.fitted.summary.run_dir / "model"
    (folder / RECALIBRATION_FILE).unlink(missing_ok=True)
    if fit.fitted.plan.recalibrate:
        save_recalibration(fit.figures.recalibration, folder)
    first_step = fit.figures.first_step[RECALIBRATED if fit.fitted.plan.recalibrate else AS_LEARNED]
    said = {
        "policy": config.model.path,
        "first_step_brier": first_step.brier,
        "first_step_noise": first_step.noise,
        "first_step_standard_error": first_step.standard_error,
        "num_questions": len({solution.question for solution in fit.fitted.parts["test"]}),
        "num_rollouts": config.collect.num_test_rollouts or config.collect.num_rollouts,
        "temperature": config.rollout.temperature,
        "max_new_tokens": config.rollout.max_new_tokens,
    }
    write_atomically(folder / CALIBRATION_FILE, json.dumps(said, indent=2) + "\n")
