"""A run: puts the parts together, from a config to a running loop, and takes them apart again whatever happens."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reward.rubric import Rubric
from rl import weight_sync
from rl.algorithms import Algorithm, make_algorithm
from rl.checkpoint import Position, last_checkpoint
from rl.config import Config, load_config, save_config
from rl.data import Dataset, source_names
from rl.errors import UserError, bad_input
from rl.inputs import read_inputs
from rl.ledger import GENESIS, Ledger
from rl.memory import say_memory
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, resolved_dtype
from rl.processes import processes
from rl.progress import Progress
from rl.proof import require_same_policy
from rl.run_folder import RunFolder
from rl.tracking import Tracker, make_tracker
from rl.trainer_group import TrainerGroup
from rollout.pool import RolloutPool
from rollout.types import Prompt, SamplingParams


@dataclass(frozen=True)
class Session:
    """Everything a loop works with; all of it is up."""

    config: Config
    folder: RunFolder
    ledger: Ledger
    contract: str
    """Digest of what decides the bits; trainer and engines agree on it."""
    train_data: Dataset
    held_out: list[Prompt]
    pool: RolloutPool
    trainer: TrainerGroup
    rubric: Rubric
    algorithm: Algorithm
    tracker: Tracker
    progress: Progress
    sampling: SamplingParams
    evaluation: SamplingParams
    position: Position
    """Where the run stands: at the start, or at its last checkpoint."""
    started_at: float


def begin(config: Config) -> RunFolder:
    """The folder of a new run, with its resolved config. Raises UserError where another run has begun."""
    config.trainer.dtype = resolved_dtype(config.trainer.dtype)
    folder = RunFolder(Path(config.run.dir))
    folder.create()
    save_config(config, folder.config_path)
    return folder


def reopen(path: Path) -> tuple[Config, RunFolder]:
    """The config and folder of a run that was interrupted. Raises UserError where there is none."""
    folder = RunFolder(path)
    folder.require()
    config = load_config(folder.config_path, [f"run.dir={path}"])
    return config, folder


@contextmanager
def session(config: Config, folder: RunFolder) -> Iterator[Session]:
    """A session that stands where the run's last checkpoint does. Leaving it ends every process it started."""
    started_at = time.monotonic()
    with ExitStack() as stack:
        progress = stack.enter_context(Progress())
        progress.start(
            config.steps, f"{folder.path}: {config.algorithm.name} on {', '.join(source_names(config.data))}"
        )
        progress.phase("reading the model and the data")
        with bad_input():
            algorithm = make_algorithm(config.algorithm.name, config.algorithm.params)
            rubric = stack.enter_context(Rubric(config.reward))
            rubric.warm_up()
            inputs = read_inputs(config)
        say_memory(config, inputs.model_config)
        progress.phase("starting Ray, the trainer and vLLM")
        running = stack.enter_context(processes(config, inputs.model_dir, algorithm))
        position = _restore(folder, running.trainer)
        weight_sync.publish(running.trainer, running.pool, position.policy)
        tracker = make_tracker(config)
        tracker.start(config, folder.path)
        yield Session(
            config=config,
            folder=folder,
            ledger=Ledger(folder.ledger_path),
            contract=running.contract,
            train_data=inputs.train_data,
            held_out=inputs.held_out,
            pool=running.pool,
            trainer=running.trainer,
            rubric=rubric,
            algorithm=algorithm,
            tracker=tracker,
            progress=progress,
            sampling=inputs.sampling,
            evaluation=inputs.evaluation,
            position=position,
            started_at=started_at,
        )


def save_model(current: Session) -> None:
    """Nothing; writes the final weights and the tokenizer as a plain Hugging Face checkpoint, renamed when whole."""
    partial = current.folder.model_dir.with_name(".model.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    current.trainer.save_model(partial.resolve())
    model_dir = resolve_model(current.config.model.path, MODEL_CACHE, seed=current.config.seed)
    load_tokenizer(model_dir).save_pretrained(partial)
    shutil.rmtree(current.folder.model_dir, ignore_errors=True)
    os.rename(partial, current.folder.model_dir)


def _restore(folder: RunFolder, trainer: TrainerGroup) -> Position:
    """Where the run goes on: the ledger and the metrics are cut back to the last checkpoint."""
    found = last_checkpoint(folder)
    if found is None:
        position = Position(0, 0, GENESIS, trainer.policy().digest, 0, 0.0)
    else:
        path, position = found
        require_same_policy(position.policy, trainer.load(path.resolve(), position.step))
    ledger = Ledger(folder.ledger_path)
    ledger.truncate_after(position.step)
    if ledger.last_hash != position.ledger_hash:
        raise UserError(
            f"{folder.ledger_path} does not contain the record that checkpoint step {position.step} follows; "
            "the ledger or the checkpoint is of another run"
        )
    folder.truncate_metrics(position.step)
    return position
