"""The pool over actors without an engine, in this process: they die, hang or lie at the call that a test says."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from ray import exceptions

from rollout import pool as pool_module
from rollout import remote
from rollout.config import RolloutConfig
from rollout.pool import ContractMismatch, PolicyMismatch, RolloutPool
from rollout.remote import TooManyLosses
from rollout.types import PolicyVersion, Prompt, RolloutGroup, SamplingParams

WEIGHTS = b"the trainer's"
GONE = b"died with the trainer"
POLICY = PolicyVersion(7, hashlib.sha256(WEIGHTS).hexdigest())
PROMPTS = [Prompt(f"train/0/{index}", "", (1, 2), {}) for index in range(5)]
SHARES = {0: 4, 1: 4, 2: 2}
"""Requests of each of three actors: two samples of every third prompt."""


class Dies(Exception): ...


class Hangs(Exception): ...


class Toy:
    """Samples a hash of request and weights."""

    def __init__(self, world: "World") -> None:
        self.world, self.weights, self.contract = world, b"", None

    def start(self, model_dir: str, dtype: str, plan: Any, config: Any) -> Any:
        self.world.started.append(config)
        return self.world.befallen("start")

    def load_policy(self, step: int, weights: bytes) -> PolicyVersion:
        if weights == GONE:
            owner_died = exceptions.OwnerDiedError("00", b"", "")
            raise exceptions.RayTaskError("load_policy", "", owner_died).as_instanceof_cause()
        self.weights = weights
        return PolicyVersion(step, self.world.befallen("load_policy") or hashlib.sha256(weights).hexdigest())

    def generate(self, requests: Any, params: Any) -> list[str]:
        self.world.asked.append(len(requests))
        self.world.befallen("generate")
        return [hashlib.sha256(f"{request}{self.weights!r}".encode()).hexdigest() for request in requests]


class World:
    """What a pool sees of Ray, and what befalls its actors. Time passes only while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.fates: list[tuple[str, Any]] = []
        self.asked: list[int] = []
        self.started: list[RolloutConfig] = []
        self.said: list[str] = []
        self.weights_asked = 0
        monkeypatch.setattr(pool_module, "ray", self)
        monkeypatch.setattr(remote, "ray", self)
        monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(remote.time, "monotonic", lambda: self.now)
        self.pool = RolloutPool(RolloutConfig(num_actors=3), seed=0, timeout_s=30, say=self.said.append)

    def befall(self, *fates: tuple[str, Any]) -> None:
        """Each `(method, fate)` befalls the first actor on which that method is called."""
        self.fates.extend(fates)

    def befallen(self, method: str) -> Any:
        for fate in self.fates:
            if fate[0] == method:
                self.fates.remove(fate)
                if isinstance(fate[1], Exception):
                    raise fate[1]
                return fate[1]
        return None

    def up(self, source: Callable[[], Any] | None = None) -> "World":
        self.pool.start("nowhere", "float32", None)
        self.pool.load_policy(POLICY, source or self.source)
        return self

    def source(self) -> bytes:
        self.weights_asked += 1
        return WEIGHTS

    def sample(self) -> list[RolloutGroup]:
        return self.pool.generate(PROMPTS, SamplingParams(max_new_tokens=4), 2)

    # From here on, what the pool knows as `ray`.

    def remote(self, **options: Any) -> Callable[[type], "Factory"]:
        self.variables = options["runtime_env"]["env_vars"]
        return lambda actor: Factory(self)

    def kill(self, handle: "Handle") -> None:
        handle.is_dead = True

    def wait(self, references: list["Reference"], num_returns: int = 1, timeout: float = 0.0) -> Any:
        ready = [reference for reference in references if not isinstance(reference.error, Hangs)]
        if not ready:
            self.now += timeout
        return ready, []

    def get(self, reference: "Reference", timeout: float) -> Any:
        if isinstance(reference.error, Hangs):
            raise exceptions.GetTimeoutError
        if reference.error:
            raise reference.error
        return reference.value


class Factory:
    def __init__(self, world: World) -> None:
        self.world = world

    def options(self, scheduling_strategy: Any) -> "Factory":
        return self

    def remote(self) -> "Handle":
        return Handle(Toy(self.world))


class Handle:
    def __init__(self, toy: Toy) -> None:
        self.toy, self.is_dead = toy, False

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": lambda _, *args: Reference(self, method, args)})()


class Reference:
    """To an answer that is there at once, or never."""

    def __init__(self, handle: Handle, method: str, args: Any) -> None:
        self.value, self.error = None, None
        try:
            if handle.is_dead:
                raise Dies
            self.value = getattr(handle.toy, method)(*args)
        except Dies:
            handle.is_dead, self.error = True, exceptions.ActorDiedError()
        except Exception as error:
            self.error = error


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("method", ["start", "load_policy", "generate"])
def test_an_actor_that_dies_at_any_call_changes_no_rollout(world: World, method: str) -> None:
    undisturbed = world.up().sample()
    world.befall((method, Dies()))
    assert world.up().sample() == undisturbed
    assert len(world.said) == 1 and "it died" in world.said[0] and "restarting, 1 of 3" in world.said[0]
    assert world.pool.num_lost == 1 and world.fates == []


def test_only_the_share_of_the_lost_actor_is_asked_again_with_the_weights_of_the_trainer(world: World) -> None:
    world.up().befall(("generate", Dies()))
    world.sample()
    assert world.asked == [*SHARES.values(), SHARES[0]]
    assert world.weights_asked == 2


def test_an_actor_that_died_while_nobody_asked_it_is_replaced_at_the_next_call(world: World) -> None:
    undisturbed = world.up().sample()
    world.kill(world.pool._seats[1]._actor)
    assert world.sample() == undisturbed
    assert world.said[0].startswith("rollout actor 1 was lost while sampling, after 0 s: it died")


def test_a_stuck_actor_is_treated_like_a_dead_one(world: World) -> None:
    undisturbed = world.up().sample()
    stuck = world.pool._seats[0]._actor
    world.befall(("generate", Hangs()))
    assert world.sample() == undisturbed
    assert world.said == [
        "rollout actor 0 was lost while sampling, after 30 s: no answer in all that time; restarting, 1 of 3"
    ]
    assert stuck.is_dead


def test_an_actor_lost_again_on_its_way_back_is_brought_back_again(world: World) -> None:
    undisturbed = world.up().sample()
    world.befall(("generate", Dies()), ("start", Dies()), ("load_policy", Hangs()))
    assert world.sample() == undisturbed
    assert [line.rsplit(", ", 1)[1] for line in world.said] == ["1 of 3", "2 of 3", "3 of 3"]


def test_an_actor_that_is_lost_every_time_is_given_up_by_name(world: World) -> None:
    world.up().befall(*[("generate", Dies())] * 12)
    with pytest.raises(TooManyLosses, match=r"^rollout actor \d was lost while sampling.*loss 4 in a row"):
        world.sample()


def test_losses_with_an_answer_between_them_are_no_reason_to_give_up(world: World) -> None:
    undisturbed = world.up().sample()
    for _ in range(6):
        world.befall(("generate", Dies()))
        assert world.sample() == undisturbed
    assert world.pool.num_lost == 6


def test_an_error_of_the_work_is_raised_and_not_asked_again(world: World) -> None:
    world.up().befall(("generate", ValueError("the work is wrong")))
    with pytest.raises(ValueError, match="the work is wrong"):
        world.sample()
    assert world.said == [] and world.asked == [*SHARES.values()]


def test_an_actor_that_comes_back_under_another_contract_is_refused(world: World) -> None:
    world.up().befall(("generate", Dies()), ("start", "another contract"))
    with pytest.raises(ContractMismatch, match="rollout actor 0 came back under another contract"):
        world.sample()


def test_an_actor_that_comes_back_with_other_weights_is_refused(world: World) -> None:
    world.up().befall(("generate", Dies()), ("load_policy", "another digest"))
    with pytest.raises(PolicyMismatch, match="rollout actor 0 holds"):
        world.sample()


def test_weights_that_died_with_the_trainer_are_not_the_loss_of_an_actor(world: World) -> None:
    """The next asking for weights says what became of the trainer."""
    sources = iter([GONE])

    def source() -> bytes:
        for weights in sources:
            return weights
        raise Dies("trainer rank 0")

    with pytest.raises(Dies, match="trainer rank 0"):
        world.up(source)
    assert world.pool.num_lost == 0


def test_a_call_waits_behind_one_that_nobody_waits_for_any_more(world: World) -> None:
    """What an error leaves behind in the other actors has its own time; they are not taken for stuck meanwhile."""
    world.up().befall(("generate", ValueError()), ("generate", Hangs()))
    with pytest.raises(ValueError):
        world.sample()
    asked = world.pool._seats[1].ask("sampling", pool_module._Task("generate", ([], None), within_s=30))
    assert asked.due_at == world.now + 60


def test_engines_may_be_others_than_the_pools_and_come_back_as_such(world: World) -> None:
    other = RolloutConfig(num_actors=3, kv_cache_gib=0.25)
    world.befall(("start", Dies()))
    world.pool.start("nowhere", "float32", None, other)
    assert world.started == [other] * 4


def test_the_cores_of_the_smallest_machine_are_divided_among_the_actors_on_one(world: World) -> None:
    RolloutPool(RolloutConfig(num_actors=3), seed=0, num_nodes=2, num_cores=16)
    assert world.variables["OMP_NUM_THREADS"] == "8"
