"""The processes of a run: the trainer's ranks and the rollout actors, placed, up, and under one contract."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernels.contract import Contract
from rl.algorithms import Algorithm
from rl.cluster import ray_cluster
from rl.config import Config
from rl.errors import bad_input
from rl.placement import Placement, place
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rollout.pool import RolloutPool, require_contract
from rollout.types import PolicyVersion


@dataclass(frozen=True)
class Processes:
    """All of them are up."""

    trainer: TrainerGroup
    pool: RolloutPool
    initial: PolicyVersion
    """Of the weights that training starts from."""
    contract: Contract
    """What trainer and engines compute with; stock engines (`rollout.exact: false`) run under none."""


@contextmanager
def processes(config: Config, model_dir: Path, algorithm: Algorithm, say: Callable[[str], None]) -> Iterator[Processes]:
    """The processes that `config` asks for; leaving ends them, and Ray where it was started here.

    say: told of every process that was lost and restarted.
    """
    with ExitStack() as stack:
        with bad_input():
            stack.enter_context(ray_cluster())
            placement = _place(config)
        stack.callback(placement.close)
        settings = _trainer_settings(config, model_dir, algorithm)
        trainer = TrainerGroup(settings, placement.ranks, say, placement.num_cores)
        stack.callback(trainer.close)
        pool = _pool(config, placement, say)
        stack.callback(pool.close)
        with bad_input():
            initial = _start(trainer, pool, model_dir, config)
        yield Processes(trainer, pool, initial, trainer.contract())


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


def _pool(config: Config, placement: Placement, say: Callable[[str], None]) -> RolloutPool:
    return RolloutPool(
        config.rollout,
        config.seed,
        config.trainer.timeout_s,
        places=placement.actors,
        num_nodes=placement.num_nodes,
        num_cores=placement.num_cores,
        say=say,
    )


def _start(trainer: TrainerGroup, pool: RolloutPool, model_dir: Path, config: Config) -> PolicyVersion:
    """The version of the initial weights, when trainer and engines are up, under one contract."""
    plan = trainer.certify()
    beside = ThreadPoolExecutor(1)
    try:
        engines = beside.submit(pool.start, str(model_dir), config.trainer.dtype, plan)
        initial, theirs = trainer.start(plan), engines.result()
    except BaseException:
        pool.close()  # so that nobody waits for engines that nobody needs
        raise
    finally:
        beside.shutdown()
    if config.rollout.exact:
        require_contract(trainer.contract(), theirs)
    return initial
