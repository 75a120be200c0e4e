from rl.compare.verdict import best, judge, points

from .arms import arm, task

BASE = arm("base", [True] * 10 + [False] * 30, method="temperature")
GREEDY = arm("greedy", [True] * 20 + [False] * 20)
VOTE = arm("vote", [True] * 24 + [False] * 16, tokens=16, method="vote")
ORACLE = arm("best of 8", [True] * 40, tokens=16, method="best_of_n")
RL = arm("rl", [True] * 36 + [False] * 4, tokens=2, trained=True)
RL_VOTE = arm("rl + vote", [True] * 38 + [False] * 2, tokens=17, method="vote", trained=True)


def test_the_best_is_the_most_accurate_and_of_equals_the_cheaper() -> None:
    dear = arm("dear", [True] * 24 + [False] * 16, tokens=30)
    assert best([BASE, dear, VOTE, GREEDY]) is VOTE


def test_at_no_more_tokens_rl_may_not_draw_more_than_its_rival() -> None:
    verdict = judge(task(BASE, GREEDY, VOTE, RL, RL_VOTE))
    assert verdict.equal_tokens and verdict.single_shot
    assert (verdict.equal_tokens.first, verdict.equal_tokens.second) == (RL, VOTE)
    assert (verdict.single_shot.first, verdict.single_shot.second) == (RL, GREEDY)
    assert verdict.equal_tokens.difference.value == 0.3


def test_arms_that_choose_by_the_right_answer_are_not_counted() -> None:
    verdict = judge(task(BASE, ORACLE, VOTE, RL))
    assert verdict.equal_tokens and verdict.equal_tokens.second is VOTE
    assert verdict.selection == (
        "Each side's best arm was chosen by its accuracy on these questions, from 2 sampling-only arms and 1 RL arm; "
        "such a choice flatters the side with more to choose from. Not counted, for the grader chose: best of 8."
    )


def test_a_gain_reads_so() -> None:
    assert judge(task(BASE, GREEDY, VOTE, RL)).sentence == (
        "sums (in-domain): at no more tokens (2.0 against 16.0 for an answer) RL (rl, 90.0 %) gained 30.0 points over "
        "the best sampling-only arm (vote, 60.0 %), 95 % interval +17.5 to +45.0, which can be told from nothing; "
        "single-shot RL (rl, 90.0 %) gained 40.0 points over the best plain completion of the base model (greedy, "
        "50.0 %), 95 % interval +25.0 to +55.0, which can be told from nothing."
    )


def test_a_loss_and_a_tie_read_so() -> None:
    worse = arm("rl", [True] * 18 + [False] * 22, trained=True)
    alike = arm("rl", [True] * 20 + [False] * 20, trained=True)
    lost = judge(task(BASE, GREEDY, worse, in_domain=False)).sentence
    assert lost.startswith("sums (out-of-domain): at no more tokens and single-shot alike RL (rl, 45.0 %")
    assert "lost 5.0 points to the best sampling-only arm (greedy, 50.0 %)" in lost
    assert "cannot be told from nothing" in lost
    assert "gained nothing over the best sampling-only arm" in judge(task(BASE, GREEDY, alike)).sentence


def test_where_no_rl_arm_is_as_cheap_that_is_said() -> None:
    dear = arm("rl", [True] * 36 + [False] * 4, tokens=3, trained=True)
    verdict = judge(task(BASE, GREEDY, dear))
    assert verdict.equal_tokens is None and verdict.single_shot
    assert verdict.sentence.startswith(
        "sums (in-domain): at no more tokens there is no RL arm to compare, for each draws more than the 2.0 for an "
        "answer of the best sampling-only arm (greedy, 50.0 %), or thinks deeper; single-shot RL (rl, 90.0 %)"
    )


def test_what_depth_gave_is_not_put_down_to_rl() -> None:
    base, rl, deep = (
        arm(name, [True] * right + [False] * (40 - right), trained=trained, flops_per_token=flops)
        for name, right, trained, flops in (("greedy", 20, False, 1e6), ("rl", 24, True, 1e6), ("deep", 36, True, 8e6))
    )
    verdict = judge(task(base, rl, deep))
    assert verdict.equal_tokens and verdict.equal_tokens.first is rl
    assert verdict.single_shot and verdict.single_shot.first is rl


def test_without_rl_the_best_arm_is_named() -> None:
    verdict = judge(task(BASE, GREEDY))
    assert verdict.equal_tokens is None and verdict.single_shot is None
    assert verdict.sentence == "sums (in-domain): no RL arm; the best sampling-only arm is greedy, 50.0 %."


def test_points_have_a_sign_and_zero_has_none() -> None:
    assert [points(share) for share in (0.125, -0.003, -0.0001, 0.0)] == ["+12.5", "-0.3", "0.0", "0.0"]
