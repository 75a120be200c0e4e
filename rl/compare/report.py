"""Writes `report/`: summary.json, index.html, and a PNG a figure.

All of it follows from the samples, so that writing it again gives the same files.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rl.compare.charts import charts_of
from rl.compare.comparison import Comparison, Contrast, TaskComparison
from rl.compare.draw import write_png
from rl.compare.measures import ArmFigures
from rl.compare.page import render_page
from rl.compare.savings import Saving, savings
from rl.compare.verdict import Verdict, judge
from rl.durable import naming, write_atomically


def write_report(comparison: Comparison, folder: Path) -> None:
    """Nothing; `folder` holds the report when this returns. What lay there before is replaced."""
    with naming(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for chart in charts_of(comparison):
            write_png(chart, comparison.tasks, folder / f"{chart.key}.png")
    write_atomically(folder / "summary.json", summary_json(comparison))
    write_atomically(folder / "index.html", render_page(comparison))


def summary_json(comparison: Comparison) -> str:
    """All figures as JSON: an entry under `arms` for every arm and task."""
    summary: dict[str, Any] = {
        "name": comparison.name,
        "base_model": comparison.base_model,
        "verdicts": [_verdict_fields(judge(task)) for task in comparison.tasks],
        "arms": [arm_fields(task, figures) for task in comparison.tasks for figures in task.figures],
        "differences": [
            _contrast_fields(task, contrast)
            for task in comparison.tasks
            for contrast in (*task.against_base, *task.trained_against_sampling)
        ],
        "savings": [_saving_fields(task, saving) for task in comparison.tasks for saving in savings(task)],
    }
    return json.dumps(summary, indent=2, allow_nan=False) + "\n"


def arm_fields(task: TaskComparison, figures: ArmFigures) -> dict[str, Any]:
    """The entry of one arm on one task. Shares are from 0 to 1, times in seconds."""
    return {
        "name": figures.arm.name,
        "task": task.name,
        "in_domain": task.in_domain,
        "method": figures.arm.method,
        "is_trained": figures.arm.is_trained,
        "policy": figures.samples.policy,
        "num_questions": task.num_questions,
        "num_answers": figures.num_answers,
        "accuracy": figures.accuracy.value,
        "confidence_interval": [figures.accuracy.low, figures.accuracy.high],
        "pass_at_k": {str(k): asdict(estimate) for k, estimate in figures.pass_at_k.items()},
        "sampled_tokens": figures.sampled_tokens,
        "tokens_per_answer": figures.tokens_per_answer,
        "recurrence": figures.samples.recurrence,
        "flops_per_token": figures.samples.flops_per_token,
        "flops_per_answer": figures.flops_per_answer,
        "scored_tokens": figures.scored_tokens,
        "wall_s": figures.samples.wall_s,
        "training_tokens": figures.arm.training_tokens,
        "parse_rate": figures.parse_rate,
        "truncation_rate": figures.truncation_rate,
        "distinct_answers": figures.distinct_answers,
        "acceptance_rate": figures.samples.acceptance_rate,
        "realised_success": figures.samples.realised_success,
    }


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
    return {
        "task": verdict.task.name,
        "in_domain": verdict.task.in_domain,
        "sentence": verdict.sentence,
        "selection": verdict.selection,
        "equal_tokens": verdict.equal_tokens and _contrast_fields(verdict.task, verdict.equal_tokens),
        "single_shot": verdict.single_shot and _contrast_fields(verdict.task, verdict.single_shot),
    }


def _saving_fields(task: TaskComparison, saving: Saving) -> dict[str, Any]:
    return {**_contrast_fields(task, saving.contrast), "token_share": saving.token_share}


def _contrast_fields(task: TaskComparison, contrast: Contrast) -> dict[str, Any]:
    names = {"task": task.name, "arm": contrast.first.arm.name, "less": contrast.second.arm.name}
    told = contrast.difference.is_told_from_nothing
    return {**names, **asdict(contrast.difference), "is_told_from_nothing": told}
