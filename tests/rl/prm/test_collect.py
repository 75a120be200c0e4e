"""What is drawn, for a policy that a few lines can stand in for."""

import dataclasses

import pytest

from rl.prm.collect import Collector, prefixes_of
from rl.prm.folder import Trajectory

from .drawn import BREAK, END, POLICY, SAMPLING, Cutter, Rubric, Sampler, Tokens, prompt

PROMPTS = [prompt(index) for index in range(6)]


def collector(num_trajectories=3, seed=0):
    return Collector(Sampler(), Rubric(), Cutter(), Tokens(), POLICY, SAMPLING, seed, num_trajectories)


def collected(prompts=PROMPTS, num_rollouts=4, **settings):
    drawing = collector(**settings)
    return drawing.collect(prompts, drawing.trajectories(prompts), [num_rollouts] * len(prompts))


def test_what_is_drawn_for_a_question_depends_on_nothing_else_that_is_asked():
    alone = [collected([asked])[0] for asked in reversed(PROMPTS)]
    assert collected() == alone[::-1]


def test_more_rollouts_begin_with_those_of_fewer():
    for few, many in zip(collected(num_rollouts=2), collected(num_rollouts=5), strict=True):
        for short, long in zip(few.prefixes, many.prefixes, strict=True):
            assert (short.rewards, short.num_tokens) == (long.rewards[:2], long.num_tokens[:2])


def test_another_seed_draws_something_else():
    assert collected()[0].trajectories != collected(seed=1)[0].trajectories


def test_every_rollout_is_kept_and_those_that_have_not_ended_are_failures():
    drawn = [prefix for question in collected() for prefix in question.prefixes]
    assert all(len(prefix.rewards) == len(prefix.num_tokens) == 4 for prefix in drawn)
    unended = [reward for prefix in drawn for reward in prefix.rewards if reward is None]
    assert unended, "the policy of this test often reaches the limit"
    right = sum(reward == 1.0 for prefix in drawn for reward in prefix.rewards)
    assert sum(prefix.num_successes(4, 1.0) for prefix in drawn) == right > 0


def test_only_what_has_ended_is_judged_and_it_is_judged_whole():
    drawing = collector()
    data = drawing.collect(PROMPTS, drawing.trajectories(PROMPTS), [4] * len(PROMPTS))
    assert all(tokens[-1] == END and len(tokens) <= SAMPLING.max_new_tokens for tokens in drawing.rubric.seen)
    judged = sum(r is not None for q in data for p in q.prefixes for r in p.rewards)
    judged += sum(t.reward is not None for q in data for t in q.trajectories)
    assert len(drawing.rubric.seen) == judged


def test_no_rollout_is_longer_than_what_its_prefix_leaves():
    for question in collected():
        for prefix in question.prefixes:
            assert max(prefix.num_tokens) + prefix.end <= SAMPLING.max_new_tokens


def test_a_prefix_that_fills_the_limit_fails_without_a_draw():
    full = Trajectory((3, 3, 3, 3, 3, BREAK), False, None, (0, 6))
    question = collector().collect(PROMPTS[:1], [(full,)], [4])[0]
    assert question.prefixes[1].rewards == (None,) * 4
    assert question.prefixes[1].num_tokens == (0,) * 4
    assert question.prefixes[1].num_successes(4, 1.0) == 0


def test_a_prefix_that_solutions_share_is_drawn_on_once_and_a_finished_one_never():
    first = Trajectory((3, BREAK, 4, END), True, 0.0, (0, 2, 4))
    second = Trajectory((3, BREAK, 5, BREAK), False, None, (0, 2, 4))
    cuts = prefixes_of(PROMPTS[0], [first, second], 4)
    assert [(cut.trajectory, cut.token_ids) for cut in cuts] == [(0, ()), (0, (3, BREAK)), (1, (3, BREAK, 5, BREAK))]


def test_rollouts_of_different_prefixes_have_draws_of_their_own():
    """Their streams are keyed by the prefix: at the same place of the solution they do not repeat each other."""
    solutions = [Trajectory((a, BREAK), False, None, (0, 2)) for a in range(1, 9)]
    question = collector().collect(PROMPTS[:1], [tuple(solutions)], [6])[0]
    assert len({prefix.tokens for prefix in question.prefixes[1:]}) == 8


@pytest.mark.parametrize("num_rollouts", [1, 7])
def test_all_rollouts_of_a_chunk_are_drawn_together(num_rollouts):
    drawing = dataclasses.replace(collector(), sampler=Sampler())
    trajectories = drawing.trajectories(PROMPTS)
    drawing.collect(PROMPTS, trajectories, [num_rollouts] * len(PROMPTS))
    assert len(drawing.sampler.calls) == 2
    assert drawing.sampler.calls[0] == 3 * len(PROMPTS)
