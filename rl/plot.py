"""Curves of runs side by side, drawn from their `metrics.jsonl`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.errors import UserError
from rl.run_folder import RunFolder


@dataclass(frozen=True)
class Panel:
    """One measured quantity over the steps."""

    key: str
    label: str
    band: tuple[str, str] | None = None
    """Keys of the ends of an interval around it."""


PANELS = (
    Panel("held_out/accuracy", "held-out accuracy", ("held_out/low", "held_out/high")),
    Panel("reward/mean", "mean reward"),
    Panel("proof/mismatched_share", "share of log-probabilities that differ"),
    Panel("proof/kl", "KL(sampler ‖ trainer), nats a token"),
)


def plot_runs(run_dirs: Sequence[Path], out: Path) -> None:
    """Nothing; writes a figure to `out`, whose ending names the format: a panel for each of `PANELS`, a line a run.

    Raises UserError for a folder that is no run, and for an ending that matplotlib does not know.
    """
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "zerokl"  # the same figure is the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for run_dir in run_dirs:
        folder = RunFolder(run_dir)
        folder.require()
        metrics = list(folder.read_metrics())
        for panel, axis in zip(PANELS, axes.flat, strict=True):
            _draw(panel, axis, metrics, run_dir.resolve().name)
    for panel, axis in zip(PANELS, axes.flat, strict=True):
        axis.set(xlabel="step", title=panel.label)
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    try:
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    except ValueError as error:
        raise UserError(f"--out {out}: {error}") from error


def _draw(panel: Panel, axis: Any, metrics: Sequence[dict[str, Any]], name: str) -> None:
    points = [line for line in metrics if panel.key in line]
    steps = [line["step"] for line in points]
    (drawn,) = axis.plot(steps, [line[panel.key] for line in points], marker=".", label=name)
    if panel.band:
        low, high = ([line[key] for line in points] for key in panel.band)
        axis.fill_between(steps, low, high, color=drawn.get_color(), alpha=0.15)
