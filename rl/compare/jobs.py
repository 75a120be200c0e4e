"""Who has to sample what: every arm on every task, each in a folder of its own, model by model."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rl.compare.config import ArmConfig, CompareConfig, TaskConfig

ARMS_DIR = "arms"
"""Under a comparison's folder: everything that was sampled."""


@dataclass(frozen=True)
class Job:
    """One arm on one task."""

    arm: ArmConfig
    task: TaskConfig
    folder: Path
    """Where its samples go."""

    @property
    def name(self) -> str:
        """What it is called while it runs."""
        return f"{self.arm.name} on {self.task.name}"


def plan(config: CompareConfig) -> list[Job]:
    """All jobs of a comparison, arm by arm in the config's order."""
    arms_dir = Path(config.run.dir) / ARMS_DIR
    return [
        Job(arm, task, arms_dir / folder_name(arm.name) / folder_name(task.name))
        for arm in config.arms
        for task in config.tasks
    ]


def by_policy(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each model at each depth together, so that engines start once for each; the base model first."""
    ordered = sorted(jobs, key=lambda job: (job.arm.model, job.arm.recurrence or 0))
    return [list(group) for _, group in groupby(ordered, key=lambda job: (job.arm.model, job.arm.recurrence))]


def folder_name(name: str) -> str:
    """What the folder of an arm or a task is called: its name in small letters, digits, dots and dashes.

    >>> folder_name("RL + vote of 8")
    'rl-vote-of-8'
    """
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
