"""The trainer as the loop sees it: DeepSpeed ranks in Ray actors behind one `step`.

Every call goes to all ranks at once, because they meet in collectives; the answer is rank 0's.
"""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from kernels.contract import Contract
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from rl.trainer import TrainerRank, TrainerSettings, certified_plan, join_process_group
from rl.types import StepProof, TrainingBatch
from rollout.types import PolicyVersion
from rollout.weights import to_arrays


class TrainerActor:
    """A rank in a Ray actor's process."""

    def __init__(self, rank: int, world_size: int):
        self._rank, self._world_size = rank, world_size
        self._trainer: TrainerRank | None = None

    @property
    def trainer(self) -> TrainerRank:
        assert self._trainer is not None, "start() comes first"
        return self._trainer

    def rendezvous(self) -> tuple[str, int]:
        """An address and a free port of this node, for the process group."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def certify(self, settings: TrainerSettings) -> LinearPlan:
        """The certified linear of this node."""
        return certified_plan(settings.model_dir, settings.dtype, settings.max_model_len)

    def start(self, settings: TrainerSettings, plan: LinearPlan, address: str, port: int) -> PolicyVersion:
        """The version of the initial weights."""
        join_process_group(self._rank, self._world_size, address, port)
        self._trainer = TrainerRank(settings, plan)
        return self.trainer.policy

    def policy(self) -> PolicyVersion:
        """The version held now."""
        return self.trainer.policy

    def contract(self) -> Contract:
        """What this rank runs."""
        return self.trainer.contract()

    def step(self, batch: TrainingBatch, learning_rate: float) -> StepProof:
        """Proof of the step taken."""
        return self.trainer.step(batch, learning_rate)

    def put_weights(self) -> list[Any]:
        """A reference to the weights in Ray's object store, in a list so that Ray hands it on unresolved."""
        return [ray.put(to_arrays(self.trainer.weights()))] if self._rank == 0 else []

    def save(self, folder: Path) -> None:
        """Nothing; writes the training state."""
        self.trainer.save(folder)

    def load(self, folder: Path, step: int) -> PolicyVersion:
        """The version held after loading."""
        return self.trainer.load(folder, step)

    def save_model(self, folder: Path) -> None:
        """Nothing; writes a Hugging Face checkpoint."""
        self.trainer.save_model(folder)

    def call(self, function: Any, *args: Any) -> Any:
        """`function(trainer, *args)`, for tests and tools that look inside a rank."""
        return function(self.trainer, *args)


class TrainerGroup:
    """`trainer.world_size` ranks. `start` before anything else."""

    def __init__(self, settings: TrainerSettings, places: Sequence[Any] = ()):
        """places: a Ray scheduling strategy for each rank; none leaves it to Ray."""
        self._settings = settings
        self._timeout_s = settings.trainer.timeout_s
        world_size = settings.trainer.world_size
        environment = compute_environment(settings.trainer.threads, world_size)
        environment |= {"DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}
        remote = ray.remote(num_cpus=0, runtime_env={"env_vars": environment})(TrainerActor)
        strategies = places or ["DEFAULT"] * world_size
        self._actors = [
            remote.options(scheduling_strategy=strategy).remote(rank, world_size)
            for rank, strategy in enumerate(strategies)
        ]

    def certify(self) -> LinearPlan:
        """The certified linear; every rank and every engine uses it."""
        return self._get([self._actors[0].certify.remote(self._settings)])

    def start(self, plan: LinearPlan) -> PolicyVersion:
        """The version of the initial weights, the same on every rank."""
        address, port = self._get([self._actors[0].rendezvous.remote()])
        return self._all("start", self._settings, plan, address, port)

    def policy(self) -> PolicyVersion:
        """The version that the ranks hold now."""
        return self._all("policy")

    def contract(self) -> Contract:
        """What the ranks run."""
        return self._all("contract")

    def step(self, batch: TrainingBatch, learning_rate: float) -> StepProof:
        """Proof of one optimizer step on `batch`. Raises BrokenGuarantee when the batch is not on-policy."""
        return self._all("step", ray.put(batch), learning_rate)

    def put_weights(self) -> Any:
        """A Ray reference to the weights."""
        return self._all("put_weights")[0]

    def save(self, folder: Path) -> None:
        """Nothing; writes the training state into `folder`."""
        self._all("save", folder)

    def load(self, folder: Path, step: int) -> PolicyVersion:
        """The version held after taking up the state in `folder`."""
        return self._all("load", folder, step)

    def save_model(self, folder: Path) -> None:
        """Nothing; writes the weights as a plain Hugging Face checkpoint."""
        self._all("save_model", folder)

    def call(self, function: Any, *args: Any) -> Any:
        """`function(trainer, *args)` on every rank; rank 0's answer."""
        return self._all("call", function, *args)

    def close(self) -> None:
        """Nothing; ends every rank's process."""
        for actor in self._actors:
            ray.kill(actor)

    def _all(self, method: str, *args: Any) -> Any:
        return self._get([getattr(actor, method).remote(*args) for actor in self._actors])

    def _get(self, pending: list[Any]) -> Any:
        try:
            return ray.get(pending, timeout=self._timeout_s)[0]
        except ray.exceptions.GetTimeoutError as error:
            raise RuntimeError(f"a trainer rank gave no answer for {self._timeout_s:.0f} s") from error
