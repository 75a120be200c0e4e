"""The processes of a run: the trainer's ranks and the rollout actors, placed, up, and under one contract."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernels.digest import combined_digest
from rl.algorithms import Algorithm
from rl.cluster import ray_cluster
from rl.config import Config
from rl.errors import bad_input
from rl.placement import Placement, place
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rollout.pool import RolloutPool, require_contract


@dataclass(frozen=True)
class Processes:
    """All of them are up."""

    trainer: TrainerGroup
    pool: RolloutPool
    contract: str
    """Digest of what decides the bits; trainer and engines agree on it."""


@contextmanager
def processes(config: Config, model_dir: Path, algorithm: Algorithm) -> Iterator[Processes]:
    """The processes that `config` asks for; leaving ends them, and Ray where it was started here."""
    with ExitStack() as stack:
        with bad_input():
            stack.enter_context(ray_cluster())
            placement = _place(config)
        stack.callback(placement.close)
        trainer = TrainerGroup(_trainer_settings(config, model_dir, algorithm), placement.ranks)
        stack.callback(trainer.close)
        pool = _pool(config, placement)
        stack.callback(pool.close)
        with bad_input():
            contract = _start(trainer, pool, model_dir, config)
        yield Processes(trainer, pool, contract)


def _place(config: Config) -> Placement:
    threads = (config.trainer.threads, config.rollout.threads)
    return place(config.trainer.world_size, config.rollout.num_actors, threads)


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


def _pool(config: Config, placement: Placement) -> RolloutPool:
    return RolloutPool(
        config.rollout,
        config.seed,
        config.trainer.timeout_s,
        places=placement.actors,
        num_nodes=placement.num_nodes,
    )


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
