"""Moves the policy from trainer to engines in memory, and makes sure that it arrived."""

from rl.trainer_group import TrainerGroup
from rollout.pool import RolloutPool
from rollout.types import PolicyVersion


def publish(trainer: TrainerGroup, pool: RolloutPool, version: PolicyVersion) -> PolicyVersion:
    """`version`, which every engine now holds, by the digest each took of its own weights.

    Raises PolicyMismatch otherwise. The weights lie once in Ray's object store, no longer than this takes, and are read
    there in place. An engine that has to be replaced before the next step is given them by the trainer again.
    """
    return pool.load_policy(version, trainer.put_weights)
