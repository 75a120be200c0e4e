"""Runs of the tiny model that are killed, here and there; `python -m tests.chaos faults` does it many times over."""

from pathlib import Path

import pytest

from ..chaos.faults import Fault
from ..chaos.journey import Journey, Reference, undergo
from .commands import CONFIG, final_hash

pytestmark = pytest.mark.engine


def test_a_run_that_loses_an_actor_and_a_rank_goes_on_to_the_same_hash(done, workplace: Path) -> None:
    final_hash(done)
    faults = (
        Fault("sample", "rollout actor", moment=0.3, step=1, draw=1),
        Fault("train", "trainer rank", moment=0.5, step=2),
    )
    arrival = undergo(Journey("loses", faults, ("rollout.num_actors=2",)), CONFIG, workplace)
    assert arrival.complaints(Reference.of(workplace / "run")) == []
    assert len(arrival.attempts) == 1


def test_a_killed_run_resumes_to_the_same_hash_with_other_actors_and_ranks(done, workplace: Path) -> None:
    """Killed between ledger and checkpoint, then all of it while it was being restored."""
    final_hash(done)
    faults = (
        Fault("write rollouts", "driver", moment=0, step=2),
        Fault("restore", "everything", moment=0, step=1),
    )
    elastic = ("rollout.num_actors=2", "trainer.world_size=2")
    arrival = undergo(Journey("killed", faults, resume_overrides=elastic), CONFIG, workplace)
    assert arrival.complaints(Reference.of(workplace / "run")) == []
    assert [attempt.status for attempt in arrival.attempts] == [-9, -9, 0]
