"""The trainer as the loop sees it: DeepSpeed ranks in Ray actors behind one `step`.

Every call goes to all ranks at once, because they meet in collectives; the answer is rank 0's. For the same reason a
rank that dies, or is silent past its deadline, takes the others with it: TrainerLost. `restart` puts fresh ranks in
their place, which stand at the initial weights.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ray

from kernels.contract import Contract
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from rl.rank import RankSettings
from rl.types import StepProof, TrainingBatch
from rl.zero.process_group import join_process_group
from rollout.deadlines import deadlines_of
from rollout.pool import ContractMismatch
from rollout.remote import Patience, ProcessLost, call, gather
from rollout.types import PolicyVersion
from rollout.weights import to_arrays

T = TypeVar("T")

logger = logging.getLogger(__name__)


class TrainerLost(RuntimeError):
    """A rank died or was silent past its deadline, and the trainer's state went with it."""


class TrainerActor:
    """A rank in a Ray actor's process."""

    def __init__(self, rank: int, world_size: int):
        self._rank, self._world_size = rank, world_size
        self._trainer: Any = None

    @property
    def trainer(self) -> Any:
        """The `rl.rank.Rank` that the settings made."""
        assert self._trainer is not None, "start() comes first"
        return self._trainer

    def rendezvous(self) -> tuple[str, int]:
        """An address and a free port of this node, for the process group."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def certify(self, settings: RankSettings) -> LinearPlan:
        """The certified linear of this node."""
        return settings.certified_plan()

    def start(self, settings: RankSettings, plan: LinearPlan, address: str, port: int) -> PolicyVersion:
        """The version of the initial weights."""
        join_process_group(self._rank, self._world_size, address, port)
        self._trainer = settings.make_rank(plan)
        return self.policy()

    def policy(self) -> PolicyVersion:
        """The version held now."""
        policy: PolicyVersion = self.trainer.policy
        return policy

    def contract(self) -> Contract:
        """What this rank runs."""
        contract: Contract = self.trainer.contract()
        return contract

    def step(self, batch: Any, learning_rate: float) -> Any:
        """What the rank hands back of the step taken."""
        return self.trainer.step(batch, learning_rate)

    def measure(self, evaluation: Any) -> Any:
        """What the rank measures of its model."""
        return self.trainer.measure(evaluation)

    def put_weights(self) -> list[Any]:
        """A reference to the weights in Ray's object store, in a list so that Ray hands it on unresolved."""
        weights = self.trainer.weights()
        return [ray.put(to_arrays(weights))] if self._rank == 0 else []

    def save(self, folder: Path) -> None:
        """Nothing; writes the training state."""
        self.trainer.save(folder)

    def load(self, folder: Path, step: int) -> PolicyVersion:
        """The version held after loading."""
        version: PolicyVersion = self.trainer.load(folder, step)
        return version

    def save_model(self, folder: Path) -> None:
        """Nothing; writes a Hugging Face checkpoint."""
        self.trainer.save_model(folder)

    def call(self, function: Any, *args: Any) -> Any:
        """`function(trainer, *args)`, for tests and tools that look inside a rank."""
        return function(self.trainer, *args)


class RankGroup:
    """`trainer.world_size` ranks of any trainer. `start` before anything else."""

    def __init__(
        self,
        settings: RankSettings,
        places: Sequence[Any] = (),
        say: Callable[[str], None] = logger.warning,
        num_cores: int = 0,
    ):
        """places: a Ray scheduling strategy for each rank; none leaves it to Ray. say: told of ranks that were lost.

        num_cores: of the machine that they share; 0 is this one.
        """
        self._settings, self._say = settings, say
        self._deadlines = deadlines_of(settings.trainer.timeout_s, settings.model_dir)
        world_size = settings.trainer.world_size
        environment = compute_environment(settings.trainer.threads, world_size, num_cores)
        environment |= {"DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}
        self._remote = ray.remote(num_cpus=0, runtime_env={"env_vars": environment})(TrainerActor)
        self._places = places or ["DEFAULT"] * world_size
        self._actors = self._create()
        self._plan: LinearPlan | None = None
        self._contract: Contract | None = None
        self.num_lost = 0
        """How often ranks were lost so far."""

    def certify(self) -> LinearPlan:
        """The certified linear; every rank and every engine uses it."""
        return self._until_up(self._certify)

    def start(self, plan: LinearPlan) -> PolicyVersion:
        """The version of the initial weights, the same on every rank."""
        self._plan, self._contract = plan, None
        return self._until_up(self._start)

    def restart(self) -> PolicyVersion:
        """The version of the initial weights, which fresh ranks hold.

        Raises ContractMismatch where they do not run under the contract that the others did.
        """
        self._replace()
        return self._until_up(self._start)

    def policy(self) -> PolicyVersion:
        """The version that the ranks hold now."""
        return self._all("saying its policy", self._deadlines.move_s(), "policy")

    def contract(self) -> Contract:
        """What the ranks run."""
        assert self._contract is not None, "start() comes first"
        return self._contract

    def save(self, folder: Path) -> None:
        """Nothing; writes the training state into `folder`."""
        self._all("writing a checkpoint", self._deadlines.move_s(copies=16), "save", folder)

    def load(self, folder: Path, step: int) -> PolicyVersion:
        """The version held after taking up the state in `folder`."""
        return self._all("reading a checkpoint", self._deadlines.move_s(copies=16), "load", folder, step)

    def save_model(self, folder: Path) -> None:
        """Nothing; writes the weights as a plain Hugging Face checkpoint."""
        self._all("writing the model", self._deadlines.move_s(copies=4), "save_model", folder)

    def call(self, function: Any, *args: Any) -> Any:
        """`function(trainer, *args)` on every rank; rank 0's answer."""
        return self._all("looking inside", self._deadlines.start_s(), "call", function, *args)

    def close(self) -> None:
        """Nothing; ends every rank's process, stopped ones as well."""
        for actor in self._actors:
            ray.kill(actor)

    def _create(self) -> list[Any]:
        return [
            self._remote.options(scheduling_strategy=place).remote(rank, len(self._places))
            for rank, place in enumerate(self._places)
        ]

    def _certify(self) -> LinearPlan:
        within_s = self._deadlines.start_s()
        return self._ask(self._actors[:1], "certifying its linear", within_s, "certify", self._settings)

    def _start(self) -> PolicyVersion:
        address, port = self._ask(self._actors[:1], "coming up", self._deadlines.start_s(), "rendezvous")
        within_s = self._deadlines.start_s()
        version: PolicyVersion = self._all("coming up", within_s, "start", self._settings, self._plan, address, port)
        contract: Contract = self._all("saying its contract", self._deadlines.move_s(), "contract")
        if self._contract and contract != self._contract:
            parts = "; ".join(self._contract.differences(contract))
            raise ContractMismatch(f"the trainer came back under another contract: {parts}")
        self._contract = contract
        return version

    def _until_up(self, bring_up: Callable[[], T]) -> T:
        patience = Patience(self._say)
        while True:
            try:
                return bring_up()
            except TrainerLost as lost:
                patience.spend(lost)
                self._replace()

    def _replace(self) -> None:
        """Nothing; other processes are coming up in the ranks' places."""
        self.num_lost += 1
        self.close()
        self._actors = self._create()

    def _all(self, what: str, within_s: float, method: str, *args: Any) -> Any:
        """Rank 0's answer, when all have answered."""
        return self._ask(self._actors, what, within_s, method, *args)

    def _ask(self, actors: Sequence[Any], what: str, within_s: float, method: str, *args: Any) -> Any:
        calls = [
            call(f"trainer rank {rank}", what, getattr(actor, method).remote(*args), within_s)
            for rank, actor in enumerate(actors)
        ]
        try:
            return gather(calls)[0]
        except ProcessLost as lost:
            raise TrainerLost(str(lost)) from lost


class TrainerGroup(RankGroup):
    """The ranks of an RL run."""

    def step(self, batch: TrainingBatch, learning_rate: float) -> StepProof:
        """Proof of one optimizer step on `batch`. Raises BrokenGuarantee when the batch is not on-policy."""
        num_read = sum(scored.group.num_tokens for scored in batch.groups)
        within_s = self._deadlines.train_s(num_read * self._settings.trainer.updates_per_batch)
        return self._all("training", within_s, "step", ray.put(batch), learning_rate)

    def put_weights(self) -> Any:
        """A Ray reference to the weights."""
        return self._all("handing over its weights", self._deadlines.move_s(copies=4), "put_weights")[0]
