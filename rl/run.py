"""A run: puts the parts together, from a config to a running loop, and takes them apart again whatever happens."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reward.rubric import Rubric
from rl import weight_sync
from rl.algorithms import Algorithm, make_algorithm
from rl.checkpoint import Position
from rl.config import Config, load_config, save_config
from rl.contract.free_keys import FREE_KEYS, KEPT_KEYS, require_free
from rl.contract.parts import computed_parts, declared_parts
from rl.contract.recorded import Contracts, Terms
from rl.credit import Credit
from rl.data import Dataset, source_names
from rl.durable import naming, publish_folder
from rl.errors import bad_input
from rl.inputs import read_inputs
from rl.interrupt import Stop
from rl.ledger import Ledger
from rl.memory import say_memory
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, resolved_dtype
from rl.process_rewards import require_process_rewards, step_credit
from rl.processes import Processes, processes
from rl.progress import Progress
from rl.recovery import Recovery
from rl.restore import restore
from rl.resume import TRAIN, require_kind, require_no_other
from rl.run_folder import RunFolder
from rl.tracking import Tracker, started_tracker
from rl.trainer_group import TrainerGroup
from rollout.pool import RolloutPool
from rollout.types import Prompt, SamplingParams


@dataclass(frozen=True)
class Session:
    """Everything a loop works with; all of it is up."""

    config: Config
    folder: RunFolder
    ledger: Ledger
    contracts: Contracts
    """What decides the bits, and what did before."""
    train_data: Dataset
    held_out: list[Prompt]
    pool: RolloutPool
    trainer: TrainerGroup
    recovery: Recovery
    rubric: Rubric
    algorithm: Algorithm
    credit: Credit
    """Of process rewards."""
    tracker: Tracker
    progress: Progress
    sampling: SamplingParams
    evaluation: SamplingParams
    position: Position
    """Where the run stands: at the start, or at its last checkpoint."""
    started_at: float
    attempt: int
    """Which start of the run this is, from 1: `train` is one, and so is each `resume`."""
    stop: Stop
    """Whether somebody asked the run to stop."""

    def save_state(self, folder: Path) -> None:
        """Nothing; writes into a checkpoint what the run goes on from."""
        self.trainer.save(folder)
        self.credit.save(folder)

    def losses(self) -> dict[str, float]:
        """Processes that were lost and brought back so far, keys `area/name`."""
        return {
            "recovery/rollout_actors": float(self.pool.num_lost),
            "recovery/trainer": float(self.trainer.num_lost),
        }


def begin(config: Config) -> RunFolder:
    """The folder of a new run, with its resolved config. Raises UserError where another run has begun."""
    config.trainer.dtype = resolved_dtype(config.trainer.dtype)
    folder = RunFolder(Path(config.run.dir))
    require_no_other(folder.path, TRAIN)
    folder.create()
    save_config(config, folder.config_path)
    return folder


def reopen(path: Path, overrides: Sequence[str] = ()) -> tuple[Config, RunFolder]:
    """The config and folder of a run that was interrupted. Raises UserError where there is none.

    overrides: of keys that decide no bit; they hold for this time and are not written down.
    """
    folder = RunFolder(path)
    require_kind(path, TRAIN)
    free = require_free(overrides, FREE_KEYS + KEPT_KEYS, "resume")
    config = load_config(folder.config_path, [f"run.dir={path}", *free])
    return config, folder


@contextmanager
def session(
    config: Config, folder: RunFolder, allow_contract_change: bool = False, stop: Stop | None = None
) -> Iterator[Session]:
    """A session that stands where the run's last checkpoint does. Leaving it ends every process it started.

    Raises ContractChanged, before anything of the run is touched, where it was made under another contract.
    """
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
            require_process_rewards(config.reward.process, inputs.model_dir)
            terms = Terms(folder, declared_parts(config, inputs, algorithm), allow_contract_change)
        say_memory(config, inputs.model_config)
        progress.phase("starting Ray, the trainer and vLLM")
        running = stack.enter_context(processes(config, inputs.model_dir, algorithm, progress.note))
        contracts = terms.settle(computed_parts(running.contract, running.initial))
        credit = stack.enter_context(step_credit(config, inputs.model_dir, progress.note))
        ledger = Ledger(folder.ledger_path)
        recovery = Recovery(
            restart=running.trainer.restart,
            stand=partial(_stand, folder, ledger, running, credit, progress),
            reached=lambda: ledger.last_step or 0,
            say=progress.note,
        )
        position = recovery.stand()
        attempt = folder.begin_attempt(position.step)
        tracker = stack.enter_context(started_tracker(config, folder, attempt))
        yield Session(
            config=config,
            folder=folder,
            ledger=ledger,
            contracts=contracts,
            train_data=inputs.train_data,
            held_out=inputs.held_out,
            pool=running.pool,
            trainer=running.trainer,
            recovery=recovery,
            rubric=rubric,
            algorithm=algorithm,
            credit=credit,
            tracker=tracker,
            progress=progress,
            sampling=inputs.sampling,
            evaluation=inputs.evaluation,
            position=position,
            started_at=started_at,
            attempt=attempt,
            stop=stop or Stop(),
        )


def save_model(current: Session) -> None:
    """Nothing; writes the final weights and the tokenizer as a plain Hugging Face checkpoint, renamed when whole."""
    final = current.folder.model_dir
    unfinished = final.with_name(".model.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    with naming(final):
        unfinished.mkdir()
        current.trainer.save_model(unfinished.resolve())
        model_dir = resolve_model(current.config.model.path, MODEL_CACHE, seed=current.config.seed)
        load_tokenizer(model_dir).save_pretrained(unfinished)
        publish_folder(unfinished, final)


def _stand(folder: RunFolder, ledger: Ledger, running: Processes, credit: Credit, progress: Progress) -> Position:
    """Where the run goes on; trainer, engines, process rewards and files stand there."""
    position = restore(folder, ledger, running.trainer, progress.note)
    credit.restore(folder.checkpoint_path(position.step) if position.step else None)
    weight_sync.publish(running.trainer, running.pool, position.policy)
    progress.back_to(position.step)
    return position
