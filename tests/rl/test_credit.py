from dataclasses import replace

import pytest

from reward.drift import Reference
from reward.log_odds import IDENTITY
from reward.process import ProcessConfig
from reward.types import Reward
from rl.credit import STATE_FILE, NoCredit, ProcessCredit, State
from rl.errors import UserError
from rl.types import RewardedGroup
from rollout.search.stepwise import StepScores
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

STEP = 9
"""The token that ends a step; what any other token says of a solution is its tenth."""


class Scorer:
    """The chance behind a step is a tenth of its first token, at the question .5; quantiles .2 about it."""

    levels = (0.1, 0.5, 0.9)
    pause_token_ids = (STEP,)

    def __init__(self):
        self.readings = []

    def step_ends(self, token_ids, has_ended):
        ends = [i for i, token in enumerate(token_ids, start=1) if token == STEP]
        return (*ends, len(token_ids)) if has_ended and len(token_ids) not in ends else tuple(ends)

    def score(self, readings):
        self.readings.append(list(readings))
        return [self._scores(reading.token_ids, reading.has_ended) for reading in readings]

    def _scores(self, token_ids, has_ended):
        ends = (0, *self.step_ends(token_ids, has_ended))
        chances = [0.5, *(token_ids[start] / 10 for start in ends[:-1])]
        return StepScores(ends, tuple((p - 0.2, p, p + 0.2) for p in chances), 1 + len(token_ids))


def group(*completions, rights=None, prompt="train/0/0", truncated=()):
    rollouts = tuple(
        Rollout(prompt, i, tokens, (-1.0,) * len(tokens), "", i in truncated) for i, tokens in enumerate(completions)
    )
    rights = rights or [False] * len(rollouts)
    rewards = tuple(Reward(float(right), {"right": float(right)}, "right") for right in rights)
    return RewardedGroup(RolloutGroup(Prompt(prompt, "", (1,), {}), rollouts, PolicyVersion(0, "")), rewards)


def credit(said=None, reference=None, **settings):
    config = ProcessConfig(prm="a", **settings)
    say = (said if said is not None else []).append
    return ProcessCredit(config, Scorer(), reference, say)


FIRST = group((4, 1, STEP, 3, STEP), (6, STEP))
SECOND = group((5, STEP, 5), (5,), prompt="train/0/1")


def test_every_token_has_what_its_step_earns_as_progress():
    found = credit(form="progress").credited(1, [FIRST, SECOND]).advantages
    assert found[0] == (pytest.approx((-0.1, -0.1, -0.1, -0.1, -0.1)), pytest.approx((0.1, 0.1)))
    assert found[1] == ((0.0, 0.0, 0.0), (0.0,))


def test_every_token_has_what_its_step_earns_in_min_form_times_the_weight():
    found = credit(form="min", weight=2.0).credited(1, [FIRST]).advantages
    # The least to come: .3 and .3; .6. Less the other's: -.3, .3.
    assert found == ((pytest.approx((-0.6,) * 5), pytest.approx((0.6, 0.6))),)


CUT_OFF = group((4, STEP, 3), (6, STEP), truncated=[0], rights=[True, True])


def test_a_rollout_that_was_cut_off_has_no_chance_at_its_end_whatever_the_model_says():
    found = credit(form="progress").credited(1, [CUT_OFF])
    assert found.advantages[0] == (pytest.approx((-0.1, -0.1, -0.4)), pytest.approx((0.1, 0.1)))
    assert found.metrics["process/last"] == pytest.approx((0.0 + 0.6) / 2)
    # In min form 0 is the least of what is to come at every step; the other has .6, and nothing less is taken off.
    assert credit(form="min").credited(1, [CUT_OFF]).advantages == (((-0.6,) * 3, (0.6, 0.6)),)


def test_a_rollout_that_was_cut_off_is_wrong_and_its_end_is_not_fitted_on():
    process = credit(recalibrate_every=5)
    process.credited(1, [CUT_OFF])
    ((cut_off, whole),) = process.state.seen
    assert (cut_off.chances, cut_off.is_right) == ((0.5, 0.4), False)
    assert (whole.chances, whole.is_right) == ((0.5, 0.6), True)
    assert process.state.told[0].num_right == 1


def test_a_lower_level_is_a_lower_reward():
    median, low = (credit(level=level).credited(1, [FIRST]).metrics for level in (0.5, 0.1))
    assert low["process/last"] == pytest.approx(median["process/last"] - 0.2)


def test_all_rollouts_are_read_at_once_as_solutions_that_are_over():
    process = credit()
    process.credited(1, [FIRST, SECOND])
    (readings,) = process.scorer.readings
    assert [reading.token_ids for reading in readings] == [(4, 1, 9, 3, 9), (6, 9), (5, 9, 5), (5,)]
    assert all(reading.has_ended for reading in readings)


def test_what_is_measured():
    metrics = credit().credited(1, [FIRST]).metrics
    assert metrics["process/first"] == 0.5
    assert metrics["process/last"] == pytest.approx((0.3 + 0.6) / 2)
    assert metrics["process/least"] == pytest.approx((0.3 + 0.6) / 2)
    assert metrics["process/num_steps"] == 1.5
    assert (metrics["process/map_scale"], metrics["process/map_shift"]) == (1.0, 0.0)


def test_how_much_too_high_solutions_are_rated_is_measured_at_the_median_whatever_the_level():
    half_right = group((4, 1, STEP, 3, STEP), (6, STEP), (9, STEP), rights=[False, True, True], truncated=[2])
    for level in (0.1, 0.5):
        metrics = credit(level=level).credited(1, [half_right]).metrics
        assert metrics["process/overestimate"] == pytest.approx(((0.3 - 0) + (0.6 - 1) + (0 - 0)) / 3)


ALWAYS_RIGHT = [group((3, STEP), (4, STEP), rights=[True, True], prompt=f"train/0/{index}") for index in range(8)]


def test_a_map_is_fitted_at_its_steps_and_counts_from_the_next():
    process = credit(form="progress", recalibrate_every=2)
    values = [process.credited(step, ALWAYS_RIGHT).metrics for step in (1, 2, 3)]
    assert [round(m["process/first"], 6) for m in values[:2]] == [0.5, 0.5]
    assert values[2]["process/first"] > 0.8 and values[2]["process/map_shift"] > 1
    assert process.state.told and all(told.said > 0.8 for told in process.state.told)


def test_without_recalibration_nothing_is_kept_to_fit_on_and_the_map_stays():
    process = credit()
    process.credited(1, ALWAYS_RIGHT)
    assert process.state.seen == () and process.state.recalibrated == IDENTITY


def test_a_run_that_goes_on_from_a_checkpoint_earns_the_same_to_the_bit(tmp_path):
    through, before = credit(recalibrate_every=3), credit(recalibrate_every=3)
    wrong = [group((7, STEP), (2, 2, STEP), rights=[False, True], prompt=f"train/0/{index}") for index in range(5)]
    batches = [ALWAYS_RIGHT, wrong, ALWAYS_RIGHT, [FIRST], wrong, wrong, [FIRST, *wrong]]
    whole = [through.credited(step, batch) for step, batch in enumerate(batches, start=1)]
    for cut in range(len(batches)):
        after = credit(recalibrate_every=3)
        before.restore(None)
        for step, batch in enumerate(batches[:cut], start=1):
            before.credited(step, batch)
        before.save(tmp_path)
        after.restore(tmp_path)
        assert after.state == before.state
        assert [after.credited(step, batch) for step, batch in enumerate(batches[cut:], start=cut + 1)] == whole[cut:]
    assert through.state.recalibrated != IDENTITY


def test_no_more_than_a_window_of_questions_is_carried():
    process = credit(recalibrate_every=1000)
    for step in range(1, 40):
        process.credited(step, ALWAYS_RIGHT)
    assert len(process.state.seen) == len(process.state.told) == 256


def test_drift_is_said_once_with_its_figures_and_again_after_a_new_map():
    said = []
    process = credit(said, Reference(0.01, 0.001, 100), recalibrate_every=6)
    for step in range(1, 7):
        process.credited(step, ALWAYS_RIGHT)
    (line,) = said
    assert "off by a Brier score of 0.250" in line and "0.010 ± 0.001 in its calibration report (100 questions" in line
    assert "every 6 steps" in line and not process.state.has_warned
    # After the map it says what comes of it, and is silent.
    for step in range(7, 12):
        process.credited(step, ALWAYS_RIGHT)
    assert len(said) == 1


def test_without_recalibration_the_remedy_is_named():
    said = []
    process = credit(said, Reference(0.01, 0.001, 100))
    for step in range(1, 7):
        process.credited(step, ALWAYS_RIGHT)
    assert len(said) == 1 and "reward.process.recalibrate_every" in said[0]


def test_without_a_report_nothing_is_said_and_the_figure_is_measured():
    said = []
    process = credit(said)
    for step in range(1, 7):
        metrics = process.credited(step, ALWAYS_RIGHT).metrics
    assert said == [] and metrics["process/brier"] == pytest.approx(0.25)
    assert "process/brier_report" not in metrics


def test_a_group_of_one_says_nothing_of_drift():
    process = credit(form="progress")
    process.credited(1, [group((4, STEP))])
    assert process.state.told == ()


def test_a_rollout_is_right_where_its_verifier_says_so_whatever_the_others_add():
    process = credit(recalibrate_every=5)
    mixed = replace(FIRST, rewards=(Reward(0.8, {"right": 1.0}, "right"), Reward(1.5, {"right": 0.5}, "right")))
    process.credited(1, [mixed])
    assert [followed.is_right for followed in process.state.seen[0]] == [True, False]


def test_a_checkpoint_of_a_run_without_process_rewards_is_refused(tmp_path):
    with pytest.raises(UserError, match=f"{STATE_FILE} is not the state of process rewards"):
        credit().restore(tmp_path)
    (tmp_path / STATE_FILE).write_text('{"seen": 3}')
    with pytest.raises(UserError, match="the checkpoint is of a run without them"):
        credit().restore(tmp_path)


def test_a_run_without_process_rewards_has_nothing_to_keep(tmp_path):
    none = NoCredit()
    assert none.credited(1, [FIRST, SECOND]).advantages == ((), ())
    none.save(tmp_path)
    none.restore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_state_at_the_beginning_is_empty():
    process = credit(recalibrate_every=1)
    process.credited(1, ALWAYS_RIGHT)
    process.restore(None)
    assert process.state == State()
