from types import SimpleNamespace
from typing import Any

from reward.types import Reward
from rl.evaluation.held_out import evaluate
from rollout.types import SamplingParams


def test_accuracy_is_the_verifiers_word_whatever_the_other_rewards_add() -> None:
    rewards = [
        Reward(0.5, {"right": 1.0, "brief": -0.5}, "right"),
        Reward(1.2, {"right": 0.2, "brief": 1.0}, "right"),
        Reward(1.0, {"brief": 1.0}),
    ]
    pool: Any = SimpleNamespace(generate=lambda prompts, params, group_size: list(prompts))
    rubric: Any = SimpleNamespace(score=lambda groups: [(rewards[place],) for place in groups])
    prompts: Any = [0, 1, 2]
    accuracy = evaluate(pool, rubric, prompts, SamplingParams())
    assert (accuracy.correct, accuracy.total) == (2, 3)
