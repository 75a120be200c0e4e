"""A comparison in W&B: its table, its figures and its verdicts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rl.compare.charts import charts_of
from rl.compare.comparison import Comparison, TaskComparison
from rl.compare.config import CompareConfig
from rl.compare.report import arm_fields
from rl.compare.verdict import judge
from rl.run_folder import RunFolder
from rl.tracking import TrackedReport, log_report


def track(comparison: Comparison, config: CompareConfig, folder: RunFolder) -> None:
    """Nothing; files the report that lies in the run's folder, unless `tracker` is none. Never raises."""
    if config.tracker == "none":
        return
    rows = [flat_fields(task, figures) for task in comparison.tasks for figures in task.figures]
    report = TrackedReport(
        run_dir=folder.path,
        tracking=config.tracking,
        config=asdict(config),
        columns=list(rows[0]),
        rows=[list(row.values()) for row in rows],
        images={f"report/{chart.key}": folder.report_dir / f"{chart.key}.png" for chart in charts_of(comparison)},
        figures={f"verdict/{task.name}": judge(task).sentence for task in comparison.tasks},
    )
    log_report(report)


def flat_fields(task: TaskComparison, figures: Any) -> Mapping[str, Any]:
    """An arm's entry with one value a column: of pass@k only the largest k."""
    fields = arm_fields(task, figures)
    low, high = fields.pop("confidence_interval")
    k, largest = list(fields.pop("pass_at_k").items())[-1]
    return {
        **fields,
        "accuracy_low": low,
        "accuracy_high": high,
        "largest_k": int(k),
        "pass_at_largest_k": largest["value"],
    }
