"""Writes `report/`: summary.json, index.html, and a PNG a figure. All of it follows from what the run has written."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from reward.prm.calibration import QuantileReport
from rl.durable import naming, write_atomically
from rl.prm.charts import CHARTS, write_png
from rl.prm.examples import outcomes_of, places_of
from rl.prm.measure import Measured, MeasuredFit
from rl.prm.page import render_page


def write_report(measured: Measured, folder: Path) -> None:
    """Nothing; `folder` holds the report when this returns. What lay there before is replaced."""
    with naming(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for chart in CHARTS:
            write_png(chart, measured, folder / f"{chart.key}.png")
    summary = summary_of(measured)
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    write_atomically(folder / "index.html", render_page(measured, summary))


def summary_of(measured: Measured) -> dict[str, Any]:
    """All figures, as they go into `summary.json`. Shares are from 0 to 1, times in seconds."""
    config = measured.config
    return {
        "policy": config.model.path,
        "backbone": config.prm.backbone or config.model.path,
        "task": config.data.task,
        "tuning": config.prm.tuning,
        "levels": list(config.prm.quantiles),
        "data": _data_fields(measured),
        "fits": [_fit_fields(fit) for fit in measured.fits],
        "truth": measured.known
        and {"missing": measured.known.missing, "at_best": _quantile_fields(measured.known.oracle)},
    }


def _data_fields(measured: Measured) -> dict[str, Any]:
    questions, collect = measured.questions, measured.config.collect
    trajectories = [trajectory for question in questions for trajectory in question.trajectories]
    outcomes, (_, is_final) = outcomes_of(measured.test), places_of(measured.test)
    return {
        "num_questions": dict(measured.num_questions),
        "num_trajectories": collect.num_trajectories,
        "num_rollouts": collect.num_rollouts,
        "num_prefixes": sum(len(question.prefixes) for question in questions),
        "places_per_solution": float(np.mean([len(trajectory.ends) for trajectory in trajectories])),
        "finished": float(np.mean([trajectory.has_ended for trajectory in trajectories])),
        "accuracy": float(np.mean([_succeeded(t.reward, collect.success_at) for t in trajectories])),
        "test_base_rate": float(outcomes.weights @ outcomes.shares),
        "test_shares_at_zero": float(np.mean(outcomes.shares[~is_final] == 0)),
        "sampled_tokens": sum(question.num_drawn for question in questions),
        "wall_s": measured.drawing_s,
    }


def _succeeded(reward: float | None, success_at: float) -> bool:
    return reward is not None and reward >= success_at


def _fit_fields(fit: MeasuredFit) -> dict[str, Any]:
    summary, figures = fit.fitted.summary, fit.figures
    return {
        "name": fit.fitted.plan.name,
        "family": fit.fitted.plan.family,
        "num_rollouts": fit.fitted.plan.num_rollouts,
        "final_hash": summary.final_hash,
        "steps": summary.steps,
        "calibration_loss": [summary.before["calibration/loss"], summary.after["calibration/loss"]],
        "training_tokens": summary.num_tokens,
        "recalibration": asdict(figures.recalibration),
        "is_served_recalibrated": fit.fitted.plan.recalibrate,
        "first_step": {name: asdict(first_step) for name, first_step in figures.first_step.items()},
        "estimators": {name: asdict(report) for name, report in figures.estimators.items()},
        "quantiles": {name: _quantile_fields(report) for name, report in figures.quantiles.items()},
        "estimated_coverage": figures.estimated_coverage
        and {name: list(covered) for name, covered in figures.estimated_coverage.items()},
    }


def _quantile_fields(report: QuantileReport) -> dict[str, Any]:
    return asdict(report) | {"coverage": [asdict(level) | {"gap": level.gap} for level in report.coverage]}
