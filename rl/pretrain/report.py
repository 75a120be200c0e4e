"""What came of a pre-training run: `report/summary.json`, and accuracy over operands and depth as a chart."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl.durable import write_atomically
from rl.errors import UserError
from rl.pretrain.config import PretrainConfig
from rl.pretrain.inputs import Inputs, draws_of
from rl.pretrain.scratch import training_flops
from rl.recurrent.flops import flops_per_token
from rl.run_folder import RunFolder
from rl.summary import Accuracy
from rl.supervised.job import Summary

SUMMARY_FILE = "summary.json"
_KEY = re.compile(r"accuracy/n(\d+)(?:/r(\d+))?")


@dataclass(frozen=True)
class Point:
    """Accuracy on held-out problems of one number of operands at one depth."""

    num_operands: int
    recurrence: int | None
    """None of a model that is not recurrent."""
    num_problems: int
    accuracy: float
    low: float
    """Lower end of the 95 % interval."""
    high: float


def points_of(figures: Mapping[str, float], num_problems: int) -> list[Point]:
    """The points among the figures of `rl.pretrain.accuracy.ChainAccuracy`."""
    return list(_points(figures, num_problems))


def write_report(config: PretrainConfig, inputs: Inputs, summary: Summary) -> None:
    """Nothing; writes `report/summary.json` and `report/accuracy.svg` and `.png` into the run's folder."""
    folder = RunFolder(summary.run_dir)
    folder.report_dir.mkdir(exist_ok=True)
    report = _figures(config, inputs, summary)
    write_atomically(folder.report_dir / SUMMARY_FILE, json.dumps(report, indent=2) + "\n")
    for ending in (".svg", ".png"):
        plot_depth([summary.run_dir], folder.report_dir / f"accuracy{ending}")


def render_accuracy(points: Sequence[Point]) -> str:
    """The points as an aligned table, a row a number of operands and a column a depth; no newline at its end."""
    depths = _depths(points)
    heads = ["operands", *("accuracy" if depth is None else f"r={depth}" for depth in depths)]
    values = {(point.num_operands, point.recurrence): point.accuracy for point in points}
    rows = [
        [str(n), *(f"{100 * values[n, depth]:.1f} %" for depth in depths)]
        for n in sorted({point.num_operands for point in points})
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, *rows)
    )


def plot_depth(run_dirs: Sequence[Path], out: Path) -> None:
    """Nothing; writes a figure to `out`: a panel a run, accuracy over the number of operands, a line a depth.

    Raises UserError for a folder without a report of pre-training, and for an ending that matplotlib does not know.
    """
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "zerokl"  # the same figure is the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(run_dirs), figsize=(4.2 * len(run_dirs), 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, run_dir in zip(axes.flat, run_dirs, strict=True):
        _draw(axis, [Point(**point) for point in _read(run_dir)["accuracy"]])
        axis.set(xlabel="operands", title=run_dir.resolve().name, ylim=(0, 1.02))
    axes.flat[0].set_ylabel("held-out accuracy")
    try:
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    except ValueError as error:
        raise UserError(f"--out {out}: {error}") from error
    finally:
        pyplot.close(figure)


def _points(figures: Mapping[str, float], num_problems: int) -> Iterator[Point]:
    for name, value in figures.items():
        if found := _KEY.fullmatch(name):
            low, high = Accuracy(round(value * num_problems), num_problems).interval()
            depth = int(found[2]) if found[2] else None
            yield Point(int(found[1]), depth, num_problems, value, low, high)


def _figures(config: PretrainConfig, inputs: Inputs, summary: Summary) -> dict[str, Any]:
    flops = training_flops(inputs.model_config, draws_of(config), config.seed, config.steps)
    points = points_of(summary.after, config.evaluation.num_problems)
    return {
        "model": config.model.path or config.model.kind,
        "final_hash": summary.final_hash,
        "steps": summary.steps,
        "num_tokens": summary.num_tokens,
        "training_s": summary.num_tokens / summary.tokens_per_s,
        "loss": summary.loss,
        "training_flops_per_token": flops,
        "training_flops": flops * summary.num_tokens,
        "flops_per_token": flops_per_token(inputs.model_config),
        "recurrence": asdict(inputs.draws) if inputs.draws else None,
        "held_out": {name: value for name, value in summary.after.items() if name.startswith("held_out/")},
        "accuracy": [asdict(point) for point in points],
    }


def _read(run_dir: Path) -> dict[str, Any]:
    path = RunFolder(run_dir).report_dir / SUMMARY_FILE
    if not path.is_file():
        raise UserError(
            f"{run_dir} has no {path.relative_to(run_dir)}; give the folder of a `zerokl pretrain` run that has ended"
        )
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return report


def _depths(points: Sequence[Point]) -> list[int | None]:
    return sorted({point.recurrence for point in points}, key=lambda depth: depth or 0)


def _draw(axis: Any, points: Sequence[Point]) -> None:
    from matplotlib import colormaps

    depths = _depths(points)
    for place, depth in enumerate(depths):
        line = sorted((p for p in points if p.recurrence == depth), key=lambda point: point.num_operands)
        colour = colormaps["viridis"](0.9 * place / max(1, len(depths) - 1))
        xs = [point.num_operands for point in line]
        label = "static" if depth is None else f"r = {depth}"
        axis.plot(xs, [point.accuracy for point in line], marker=".", color=colour, label=label)
        axis.fill_between(xs, [p.low for p in line], [p.high for p in line], color=colour, alpha=0.12, linewidth=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
