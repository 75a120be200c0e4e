"""Against real Ray processes that die, hang and fail when they are told to."""

import os
import signal
import time
from typing import Any

import pytest
import ray

from rollout import remote
from rollout.remote import Patience, ProcessLost, TooManyLosses, answer, call, gather, settled

pytestmark = pytest.mark.engine


def make_actor() -> Any:
    @ray.remote(num_cpus=0)
    class Actor:
        def say(self, word: Any) -> Any:
            return word

        def fail(self, after_s: float = 0.0) -> None:
            time.sleep(after_s)
            raise ValueError("the work is wrong")

        def die(self, after_s: float = 0.0) -> None:
            time.sleep(after_s)
            os.kill(os.getpid(), signal.SIGKILL)

        def stop(self) -> None:
            os.kill(os.getpid(), signal.SIGSTOP)

        def sleep(self) -> None:
            time.sleep(600)

    return Actor.remote()


@pytest.fixture
def actors(ray_session: None) -> Any:
    made = [make_actor(), make_actor()]
    ray.get([actor.say.remote("up") for actor in made])
    yield made
    for actor in made:
        ray.kill(actor)


def test_answers_come_in_the_order_of_the_calls(actors) -> None:
    calls = [call(word, "talking", actor.say.remote(word), 60) for word, actor in zip("ab", actors, strict=True)]
    assert gather(calls) == ["a", "b"]


def test_a_dead_process_is_named_with_what_it_was_doing(actors) -> None:
    with pytest.raises(ProcessLost, match=r"^rollout actor 1 was lost while sampling, after \d+ s: it died \(Worker"):
        answer(call("rollout actor 1", "sampling", actors[1].die.remote(), 60))


def test_an_error_of_the_work_comes_through_as_it_is(actors) -> None:
    with pytest.raises(ValueError, match="the work is wrong"):
        answer(call("it", "working", actors[0].fail.remote(), 60))


def test_a_stopped_process_is_given_up_at_its_deadline(actors) -> None:
    with pytest.raises(ProcessLost, match="trainer rank 0 was lost while training, after 1 s: no answer"):
        gather([call("trainer rank 0", "training", actors[0].stop.remote(), 1)])


def test_all_that_are_silent_are_named(actors) -> None:
    with pytest.raises(ProcessLost, match="^a and b were lost while waiting"):
        gather([call(who, "waiting", actor.sleep.remote(), 0.5) for who, actor in zip("ab", actors, strict=True)])


def test_a_death_is_told_before_the_echo_of_it(actors) -> None:
    """A rank whose peer is killed fails in its collective, often before the death itself is known."""
    with pytest.raises(ProcessLost, match="^b was lost"):
        gather([call("a", "", actors[0].fail.remote(), 60), call("b", "", actors[1].die.remote(0.5), 60)])


def test_those_settled_are_the_answered_and_the_overdue(actors) -> None:
    slow = call("a", "", actors[0].sleep.remote(), 600)
    quick = call("b", "", actors[1].say.remote(1), 600)
    assert settled([slow, quick]) == [quick]
    overdue = call("a", "", slow.reference, 0)
    assert overdue in settled([overdue, quick])


def test_patience_ends_after_three_restarts_in_a_row(monkeypatch) -> None:
    waited, said = [], []
    monkeypatch.setattr(remote.time, "sleep", waited.append)
    patience, lost = Patience(said.append), ProcessLost("rollout actor 1", "sampling", 3.2, "it died")
    for _ in range(3):
        patience.spend(lost)
    assert waited == [1, 2, 4]
    assert said[1] == "rollout actor 1 was lost while sampling, after 3 s: it died; restarting, 2 of 3"
    with pytest.raises(TooManyLosses, match="rollout actor 1 was lost while sampling.*loss 4 in a row"):
        patience.spend(lost)
    patience.renew()
    patience.spend(lost)
    assert waited == [1, 2, 4, 1]
