import json
import math

import pytest

from reward.drift import MIN_QUESTIONS, Drift, Reference, Told, drift, read_reference


@pytest.mark.parametrize("num_rollouts", [2, 3, 8])
@pytest.mark.parametrize(("said", "true"), [(0.5, 0.5), (0.9, 0.2), (0.1, 0.0), (0.3, 0.7)])
def test_the_error_of_a_question_is_unbiased_however_few_its_rollouts(num_rollouts, said, true):
    expected = math.fsum(
        math.comb(num_rollouts, k) * true**k * (1 - true) ** (num_rollouts - k) * Told(said, k, num_rollouts).error
        for k in range(num_rollouts + 1)
    )
    assert expected == pytest.approx((said - true) ** 2)


def test_figures_written_out_by_hand():
    found = drift([Told(0.5, 1, 2), Told(1.0, 0, 2)], None)
    assert found is not None
    # (0 - .25) and (1 - 0); their mean .375, their standard deviation 1.25 / sqrt 2, over sqrt 2
    assert (found.error, found.standard_error) == pytest.approx((0.375, 0.625))
    assert (found.mean_said, found.mean_share, found.num_questions) == (0.75, 0.25, 2)


def test_fewer_than_two_questions_have_no_figures():
    assert drift([], None) is None and drift([Told(0.5, 1, 2)], None) is None


REPORT = Reference(0.1, 0.0, 200)


def figures(error=0.3, standard_error=0.05, num_questions=MIN_QUESTIONS, reference=REPORT):
    return Drift(error, standard_error, 0.2, 0.7, num_questions, reference)


@pytest.mark.parametrize(
    ("found", "is_told"),
    [
        (figures(), True),
        (figures(error=0.24), False),  # within three standard errors of .1
        (figures(error=0.26), True),
        (figures(error=0.26, reference=Reference(0.1, 0.05, 200)), False),  # the report is no surer than the run
        (figures(error=0.32, reference=Reference(0.1, 0.05, 200)), True),  # 3 sqrt 2 times .05 is .212
        (figures(num_questions=MIN_QUESTIONS - 1), False),
        (figures(reference=None), False),
        (figures(error=0.14, reference=Reference(-0.01, 0.0, 200)), False),  # not above 0 by three standard errors
    ],
)
def test_drift_is_told_where_it_is_beyond_chance(found, is_told):
    assert found.is_told == is_told


def test_what_is_said_of_it_has_the_figures():
    said = figures().sentence()
    for expected in (
        "last 32 questions",
        "0.300 ± 0.050",
        "0.100 ± 0.000 in its calibration report (200",
        "0.20",
        "0.70",
    ):
        assert expected in said


def test_the_noise_of_the_report_is_taken_out_of_it(tmp_path):
    (tmp_path / "calibration.json").write_text(
        json.dumps(
            {
                "first_step_brier": 0.125,
                "first_step_noise": 0.025,
                "first_step_standard_error": 0.01,
                "num_questions": 40,
                "other": 1,
            }
        )
    )
    assert read_reference(tmp_path) == Reference(pytest.approx(0.1), 0.01, 40)


def test_without_a_report_there_is_no_reference(tmp_path):
    assert read_reference(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"first_step_brier": 0.1}', '{"first_step_brier": "a", "num_questions": 1}']
)
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ValueError, match="calibration.json is no calibration report"):
        read_reference(tmp_path)
