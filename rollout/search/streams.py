"""Draw keys: every random choice of a search has its own place in the run's counter-based stream.

No choice depends on which actor made it, what else was in flight, or in which order the tasks stood.
"""

from collections.abc import Sequence

from rollout.draws import DrawKey, uniforms
from rollout.search.types import Task


def plain_key(seed: int, task: Task, candidate: int = 0, num_candidates: int = 1) -> DrawKey:
    """The key of a task's plain completion, or of the one among several candidates.

    They are the draws of ordinary rollouts with the same seed: sample i of a prompt has the same tokens whichever
    method asked for it, so that methods are compared on the same samples.
    """
    return DrawKey(seed, task.prompt.id, task.sample * num_candidates + candidate)


def key(seed: int, task: Task, purpose: str, member: int = 0, num_members: int = 1) -> DrawKey:
    """The key of one stream of a task: `purpose` says of what, `member` whose among several chains or particles."""
    return DrawKey(seed, f"{task.prompt.id}\0{purpose}", task.sample * num_members + member)


def choices(seed: int, tasks: Sequence[Task], purpose: str, num_each: int) -> list[list[float]]:
    """`num_each` uniform draws in [0, 1) for every task."""
    if not tasks:
        return []
    words = [key(seed, task, purpose).counter_words() for task in tasks for _ in range(num_each)]
    draws = uniforms(words, list(range(num_each)) * len(tasks)).reshape(-1, num_each)
    return [[float(draw) for draw in row] for row in draws]
