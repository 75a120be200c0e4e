import math
import os
import signal
import textwrap
from concurrent.futures import Future

import pytest

from reward.process import ProcessConfig
from reward.rubric import RewardConfig, RewardError, RewardFunctionConfig, Rubric, combine
from reward.types import Reward
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

FUNCTIONS = """
    import os, signal, sys, time

    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(a)

    def length(prompts, completions, **columns): return [len(c) for c in completions]
    def slow_first(prompts, completions, **columns):
        time.sleep(0.3 if prompts[0] == "question 0" else 0.0)
        return length(prompts, completions)
    def matches(prompts, completions, *, answer, **columns): return [c == a for c, a in zip(completions, answer)]
    def num_tokens(completion_ids, **columns): return [len(ids) for ids in completion_ids]
    def only_long(completions, **columns): return [1.0 if len(c) > 1 else None for c in completions]
    def never(completions, **columns): return [None] * len(completions)
    def content(prompts, completions, **columns): return [float(c[0]["content"]) for c in completions]
    def process(completions, **columns): return [os.getpid()] * len(completions)
    def raises(**columns): raise KeyError("boom")
    def raises_odd(**columns): raise Odd(1, 2)
    def exits(**columns): sys.exit(3)
    def crashes(**columns): os._exit(7)
    def killed(**columns): os.kill(os.getpid(), signal.SIGKILL)
    def terminated(completions, **columns):
        os.kill(os.getpid(), signal.SIGTERM)
        return [float(os.getpid())] * len(completions)
    def killed_once(prompts, completions, *, mark, **columns):
        if not os.path.exists(mark[0]):
            open(mark[0], "w").close()
            killed()
        return length(prompts, completions)
    def hangs(**columns): time.sleep(3600)
    def nan(completions, **columns): return [float("nan")] * len(completions)
    def infinite(completions, **columns): return [float("inf")] * len(completions)
    def words(completions, **columns): return ["1.0"] * len(completions)
    def too_few(completions, **columns): return [1.0]
    def nothing(**columns): return None
"""


@pytest.fixture(scope="module", autouse=True)
def rubric_functions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions")
    (folder / "rubric_functions.py").write_text(textwrap.dedent(FUNCTIONS))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def group(*texts, index=0, **columns):
    prompt = Prompt(f"train/0/{index}", f"question {index}", (1,), columns)
    rollouts = [Rollout(prompt.id, i, tuple(range(len(t))), (0.0,) * len(t), t, False) for i, t in enumerate(texts)]
    return RolloutGroup(prompt, tuple(rollouts), PolicyVersion(0, ""))


def rubric(*names, time_limit_s=30.0, num_workers=1, conversational=False):
    functions = [RewardFunctionConfig(f"rubric_functions:{name}", conversational=conversational) for name in names]
    return Rubric(RewardConfig(functions, time_limit_s, num_workers))


def values(scored):
    return [[reward.value for reward in rewards] for rewards in scored]


def test_rewards_come_in_the_order_of_groups_and_rollouts():
    groups = [group("a", "bb", index=0), group("ccc", index=1), group("", "dddd", index=2)]
    with rubric("slow_first", num_workers=2) as scorer:
        assert values(scorer.score(groups)) == [[1.0, 2.0], [3.0], [0.0, 4.0]]


def test_columns_token_ids_and_none_reach_the_components():
    with rubric("matches", "num_tokens", "only_long") as scorer:
        [[first, second]] = scorer.score([group("7", "42", answer="42")])
    assert first == Reward(1.0, {"rubric_functions:matches": 0.0, "rubric_functions:num_tokens": 1.0})
    assert second == Reward(
        4.0, {"rubric_functions:matches": 1.0, "rubric_functions:num_tokens": 2.0, "rubric_functions:only_long": 1.0}
    )


def test_the_verifier_that_the_config_names_says_what_is_correct():
    functions = [RewardFunctionConfig(f"rubric_functions:{name}") for name in ("length", "matches")]
    config = RewardConfig(functions, 30.0, 1, ProcessConfig(verifier="rubric_functions:matches"))
    with Rubric(config) as scorer:
        [rewards] = scorer.score([group("7", "42", answer="42")])
    assert [reward.is_correct for reward in rewards] == [False, True]


def test_conversational_functions_get_messages():
    with rubric("content", conversational=True) as scorer:
        assert values(scorer.score([group("1.5", "-2")])) == [[1.5, -2.0]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"raised KeyError: 'boom' \(.*rubric_functions.py, line \d+\)"),
        ("raises_odd", "raised Odd: 1"),
        ("exits", "raised SystemExit: 3"),
        ("crashes", "died with exit status 7"),
        ("killed", "its process was killed"),
        ("hangs", "ran past its limit of 0.5 s"),
        ("nan", "returned nan for completion 0"),
        ("infinite", "returned inf for completion 0"),
        ("words", "returned '1.0' for completion 0"),
        ("too_few", "returned 1 values for 2 completions"),
        ("nothing", "returned a NoneType, not a list"),
    ],
)
def test_failing_function_is_named_with_its_prompt_and_cause(name, message):
    expected = f"'rubric_functions:{name}' on prompt train/0/5: .*{message}.*; "
    scorer = rubric("length", name, time_limit_s=0.5 if name == "hangs" else 30.0)
    with scorer, pytest.raises(RewardError, match=expected):
        scorer.score([group("a", "b", index=5)])


def test_a_sigterm_to_every_process_of_a_run_does_not_reach_the_workers():
    with rubric("terminated") as scorer:
        first, second = (values(scorer.score([group("a")])) for _ in range(2))
    assert first == second, "one process scored both"


def test_a_worker_that_is_killed_from_outside_changes_no_reward(tmp_path):
    groups = [group("a", "bb", index=i, mark=str(tmp_path / f"{i}")) for i in range(2)]
    with rubric("killed_once", num_workers=2) as scorer:
        assert values(scorer.score(groups)) == [[1.0, 2.0], [1.0, 2.0]]


def test_workers_killed_between_two_batches_are_replaced():
    with rubric("process") as scorer:
        [[reward]] = scorer.score([group("a")])
        os.kill(int(reward.value), signal.SIGKILL)
        [[another]] = scorer.score([group("a")])
    assert another.value != reward.value


def test_workers_that_give_no_answer_are_given_up(monkeypatch):
    monkeypatch.setattr("reward.rubric.START_S", 0.0)
    monkeypatch.setattr("pebble.ProcessPool.schedule", lambda *args, **options: Future())
    with rubric("length", time_limit_s=0.01) as scorer, pytest.raises(RewardError, match="gave no answer"):
        scorer.score([group("a")])


def test_first_failing_prompt_is_the_one_named():
    with rubric("raises", num_workers=2) as scorer, pytest.raises(RewardError, match="train/0/3"):
        scorer.score([group("a", index=3), group("b", index=4)])


def test_workers_end_with_the_rubric():
    with rubric("process") as scorer:
        scorer.warm_up()
        [[reward]] = scorer.score([group("a")])
        pid = int(reward.value)
        assert pid != os.getpid()
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_columns_that_cannot_be_sent_are_named():
    with rubric("length") as scorer, pytest.raises(RewardError, match="columns cannot be sent"):
        scorer.score([group("a", answer=lambda: None)])


def test_unused_rubric_closes_twice():
    unused = rubric("length")
    unused.close()
    unused.close()


def test_value_is_the_weighted_sum_in_order_and_none_is_left_out():
    functions = [RewardFunctionConfig("a", 0.5), RewardFunctionConfig("b", 3.0), RewardFunctionConfig("c", -1.0)]
    assert combine(functions, [1.0, None, 0.25]) == Reward(0.25, {"a": 1.0, "c": 0.25})


def test_the_first_verifier_that_applies_says_what_is_correct():
    functions = [
        RewardFunctionConfig("brief", 0.5),
        RewardFunctionConfig("gym", 1.0),
        RewardFunctionConfig("math", 1.0),
    ]
    verifiers = ["gym", "math"]
    penalised, flattered, elsewhere, unjudged = (
        combine(functions, scores, verifiers)
        for scores in ([-1.0, 1.0, None], [2.0, 0.5, 1.0], [-1.0, None, 1.0], [2.0, None, None])
    )
    assert [r.verifier for r in (penalised, flattered, elsewhere, unjudged)] == ["gym", "gym", "math", ""]
    assert [r.is_correct for r in (penalised, flattered, elsewhere, unjudged)] == [True, False, True, True]


def test_a_completion_to_which_no_function_applies_is_named_with_its_prompt():
    expected = (
        r"completion 1 of prompt train/0/6, 'question 6': rubric_functions:only_long, rubric_functions:never returned "
        "None; .* reward.functions"
    )
    with rubric("only_long", "never") as scorer, pytest.raises(RewardError, match=expected):
        scorer.score([group("aa", "b", index=6)])


def test_one_function_that_applies_is_enough():
    with rubric("never", "only_long") as scorer:
        assert values(scorer.score([group("aa", "bbb")])) == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RewardConfig([]), "at least one"),
        (RewardConfig([RewardFunctionConfig("math_accuracy")] * 2), "named once"),
        (RewardConfig([RewardFunctionConfig("math_acuracy")]), "did you mean 'math_accuracy'"),
        (RewardConfig([RewardFunctionConfig("math_accuracy", math.nan)]), "finite"),
        (RewardConfig(num_workers=0), "at least 1, got 0"),
        (RewardConfig(time_limit_s=0), "positive"),
    ],
)
def test_wrong_configuration_is_refused_at_once(config, message):
    with pytest.raises(ValueError, match=message):
        Rubric(config)
