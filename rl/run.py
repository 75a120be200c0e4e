"""A run: puts the parts together, from a config to a running loop, and takes them apart again whatever happens."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernels.cpu_library import has_fast_bfloat16
from kernels.digest import combined_digest
from reward.rubric import Rubric
from rl import weight_sync
from rl.algorithms import Algorithm, make_algorithm
from rl.checkpoint import Position, last_checkpoint
from rl.cluster import ray_cluster
from rl.config import Config, load_config, save_config
from rl.data import Dataset, Limited, load_data, source_names
from rl.errors import ConfigError, UserError, bad_input
from rl.ledger import GENESIS, Ledger
from rl.models import load_tokenizer, resolve_model
from rl.placement import Placement, place
from rl.progress import Progress
from rl.proof import require_same_policy
from rl.run_folder import RunFolder
from rl.tracking import Tracker, make_tracker
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rollout.pool import RolloutPool, require_contract
from rollout.types import Prompt, SamplingParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL_CACHE = Path("models")


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


def resolved_dtype(dtype: str) -> str:
    """`float32` or `bfloat16`; `auto` takes bf16 where the CPU multiplies it natively."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if has_fast_bfloat16() else "float32"


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
        with bad_input():
            algorithm = make_algorithm(config.algorithm.name, config.algorithm.params)
        progress = stack.enter_context(Progress())
        asked = ", ".join(source_names(config.data))
        progress.start(config.steps, f"{folder.path}: {config.algorithm.name} on {asked}")
        progress.phase("reading the model and the data")
        with bad_input():
            rubric = stack.enter_context(Rubric(config.reward))
            rubric.warm_up()
            model_dir = resolve_model(config.model.path, MODEL_CACHE, seed=config.seed).resolve()
            tokenizer = load_tokenizer(model_dir)
            train_data, held_out = _data(config, tokenizer)
        progress.phase("starting Ray, the trainer and vLLM")
        stack.enter_context(ray_cluster())
        with bad_input():
            placement = _place(config)
        stack.callback(placement.close)
        trainer = TrainerGroup(_trainer_settings(config, model_dir, algorithm), placement.ranks)
        stack.callback(trainer.close)
        pool = RolloutPool(
            config.rollout,
            config.seed,
            config.trainer.timeout_s,
            places=placement.actors,
            num_nodes=placement.num_nodes,
        )
        stack.callback(pool.close)
        with bad_input():
            contract = _start(trainer, pool, model_dir, config)
        position = _restore(folder, trainer)
        weight_sync.publish(trainer, pool, position.policy)
        tracker = make_tracker(config)
        tracker.start(config, folder.path)
        stop_ids = stop_token_ids(model_dir, tokenizer)
        yield Session(
            config=config,
            folder=folder,
            ledger=Ledger(folder.ledger_path),
            contract=contract,
            train_data=train_data,
            held_out=held_out,
            pool=pool,
            trainer=trainer,
            rubric=rubric,
            algorithm=algorithm,
            tracker=tracker,
            progress=progress,
            sampling=SamplingParams(
                temperature=config.rollout.temperature,
                max_new_tokens=config.rollout.max_new_tokens,
                stop_token_ids=stop_ids,
            ),
            evaluation=SamplingParams(
                temperature=config.evaluation.temperature,
                max_new_tokens=config.evaluation.max_new_tokens,
                stop_token_ids=stop_ids,
            ),
            position=position,
            started_at=started_at,
        )


def stop_token_ids(model_dir: Path, tokenizer: object) -> tuple[int, ...]:
    """The tokens that end a completion: the generation config's and the tokenizer's, ascending.

    Raises ConfigError where the model has none, because every completion would run to its limit.
    """
    from transformers import GenerationConfig

    ids: set[int] = {tokenizer.eos_token_id} - {None}  # type: ignore[attr-defined]
    if (model_dir / "generation_config.json").is_file():
        eos = GenerationConfig.from_pretrained(model_dir).eos_token_id
        ids |= set(eos if isinstance(eos, list) else [eos]) - {None}
    if not ids:
        raise ConfigError(f"{model_dir} names no end-of-text token; set eos_token_id in its generation_config.json")
    return tuple(sorted(ids))


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


def _data(config: Config, tokenizer: "PreTrainedTokenizerBase") -> tuple[Dataset, list[Prompt]]:
    """What to learn from, and the held-out prompts; all leave room for a completion."""
    data, max_model_len = load_data(config.data, tokenizer, config.seed), config.rollout.max_model_len
    train = Limited(data.train, max_model_len, config.rollout.max_new_tokens)
    held_out = Limited(data.held_out, max_model_len, config.evaluation.max_new_tokens)
    return train, held_out.batch(0, config.evaluation.num_prompts)


def _trainer_settings(config: Config, model_dir: Path, algorithm: Algorithm) -> TrainerSettings:
    return TrainerSettings(
        str(model_dir),
        config.trainer.dtype,
        config.trainer,
        config.optimizer,
        algorithm,
        config.rollout.max_model_len,
        config.rollout.exact,
    )


def _place(config: Config) -> Placement:
    threads = (config.trainer.threads, config.rollout.threads)
    return place(config.trainer.world_size, config.rollout.num_actors, threads)


def _start(trainer: TrainerGroup, pool: RolloutPool, model_dir: Path, config: Config) -> str:
    """The digest of the contract under which trainer and engines came up, side by side.

    Stock engines (`rollout.exact: false`) run under none, and the digest says so.
    """
    plan = trainer.certify()
    with ThreadPoolExecutor(1) as beside:
        engines = beside.submit(pool.start, str(model_dir), config.trainer.dtype, plan)
        trainer.start(plan)
        contract, theirs = trainer.contract(), engines.result()
    if not config.rollout.exact:
        return combined_digest([contract.digest, "stock rollouts"])
    require_contract(contract, theirs)
    return contract.digest


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
