import json
from dataclasses import replace

import pytest

from reward.types import Reward
from rl.evaluation.passk import pass_at_k, wilson_interval
from rl.evaluation.report import EvalReport, QuestionResult, question_result, render_report, report_json
from rl.evaluation.settings import EvalOptions, settle
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

SETTINGS = settle(EvalOptions("tiny:llama", task="chain_sum", num_prompts=3, num_samples=4, dtype="float32"))
QUESTIONS = (
    QuestionResult("held_out/0/0", 0, 4, 40, (0.0, 0.0, 0.1, 0.0)),
    QuestionResult("held_out/0/1", 1, 1, 17, (0.0, 1.0, 0.0, 0.0)),
    QuestionResult("held_out/0/2", 4, 0, 12, (1.0, 1.0, 1.0, 1.0)),
)
REPORT = EvalReport(SETTINGS, "ab" * 32, "cd" * 32, QUESTIONS, sampling_s=2.0)


def rollout(sample: int, num_tokens: int, truncated: bool) -> Rollout:
    return Rollout("held_out/0/7", sample, (5,) * num_tokens, (-0.5,) * num_tokens, "x", truncated)


def test_a_question_is_counted_from_its_samples_and_rewards() -> None:
    rollouts = (rollout(0, 3, False), rollout(1, 8, True), rollout(2, 5, False))
    group = RolloutGroup(Prompt("held_out/0/7", "?", (1, 2), {}), rollouts, PolicyVersion(0, "ab"))
    rewards = (Reward(1.0, {}), Reward(0.99, {}), Reward(1.1, {}))
    assert question_result(group, rewards) == QuestionResult("held_out/0/7", 2, 1, 16, (1.0, 0.99, 1.1))


def test_shaping_rewards_do_not_change_what_is_right() -> None:
    rollouts = (rollout(0, 3, False), rollout(1, 3, False))
    group = RolloutGroup(Prompt("held_out/0/7", "?", (1, 2), {}), rollouts, PolicyVersion(0, "ab"))
    rewards = (Reward(0.9, {"right": 1.0, "brief": -0.1}, "right"), Reward(1.2, {"right": 0.2, "brief": 1.0}, "right"))
    assert question_result(group, rewards).num_correct == 1


def test_figures_follow_from_the_counts() -> None:
    assert REPORT.accuracy.value == pytest.approx(5 / 12)
    assert (REPORT.accuracy.low, REPORT.accuracy.high) == wilson_interval(REPORT.accuracy.value, 3)
    assert {k: REPORT.pass_at_k[k].value for k in (2, 4)} == {
        2: pytest.approx((0 + pass_at_k(4, 1, 2) + 1) / 3),
        4: pytest.approx(2 / 3),
    }
    assert (REPORT.num_samples, REPORT.num_tokens, REPORT.num_truncated, REPORT.num_without_variance) == (12, 69, 5, 1)
    assert REPORT.tokens_per_s == 34.5
    assert REPORT.mean_reward == pytest.approx(5.1 / 12)


def test_a_report_reads_so() -> None:
    assert render_report(REPORT).splitlines() == [
        f"model              tiny:llama in float32, policy {'ab' * 32}",
        "asked              3 questions of chain_sum, 4 samples each of at most 64 tokens at temperature 1, "
        "in the chat template",
        "accuracy (pass@1)   41.7 %  (95 % interval 9.1 to 83.6, wilson)",
        "pass@2              50.0 %  (95 % interval 12.5 to 87.5, wilson)",
        "pass@4              66.7 %  (95 % interval 20.8 to 93.9, wilson)",
        "truncated           41.7 %  (5 of 12 samples)",
        "no variance        1 of 3 questions",
        "mean reward        0.425",
        "mean length        5.8 tokens",
        "tokens             69 at 34 tok/s",
    ]


def test_how_deep_the_model_went_is_said() -> None:
    deep = replace(REPORT, settings=replace(REPORT.settings, recurrence=4))
    assert render_report(deep).startswith("model              tiny:llama at recurrence 4 in float32, policy ")


def test_variance_within_a_question_needs_more_than_one_sample() -> None:
    question = QuestionResult("held_out/0/0", 1, 0, 5, (1.0,))
    report = EvalReport(
        replace(SETTINGS, rollout=replace(SETTINGS.rollout, group_size=1), ks=(1,)), "ab", "cd", (question,), 2.0
    )
    assert "1 sample each" in render_report(report) and "no variance" not in render_report(report)


def test_stock_rollouts_are_named() -> None:
    stock = replace(SETTINGS, rollout=replace(SETTINGS.rollout, exact=False))
    assert "OFF-POLICY by choice  rollouts by stock vLLM" in render_report(replace(REPORT, settings=stock, contract=""))


def test_accuracy_is_there_even_where_pass_at_1_was_not_asked_for() -> None:
    report = replace(REPORT, settings=replace(SETTINGS, ks=(4,)))
    assert "accuracy (pass@1)" in render_report(report) and "pass@2" not in render_report(report)
    assert list(json.loads(report_json(report))["pass_at_k"]) == ["4"]


def test_json_holds_settings_figures_and_every_question() -> None:
    found = json.loads(report_json(REPORT))
    assert found["settings"]["data"]["task"] == "chain_sum" and found["settings"]["seed"] == 0
    assert found["policy"] == "ab" * 32 and found["contract"] == "cd" * 32
    assert found["accuracy"] == found["pass_at_k"]["1"]
    assert found["pass_at_k"]["4"]["method"] == "wilson"
    assert found["mean_length"] == 69 / 12
    assert found["per_question"][1] == {
        "prompt_id": "held_out/0/1", "num_correct": 1, "num_truncated": 1, "num_tokens": 17, "rewards": [0, 1, 0, 0],
    }  # fmt: skip
