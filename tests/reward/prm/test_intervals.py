import numpy as np
import pytest

from reward.prm.intervals import figure_of, means_by_question


def first(means):
    return means[..., 0]


def test_places_of_a_question_are_averaged_before_questions_are():
    means = means_by_question(np.array([1.0, 0.0, 0.5]), np.array(["b", "b", "a"]))
    assert means.tolist() == [[0.5], [0.5]]
    assert means_by_question(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array(["a", "a"])).tolist() == [[2.0, 3.0]]


def test_the_interval_is_that_of_a_mean_over_questions():
    parts = np.random.default_rng(0).normal(0.5, 0.1, size=(400, 1))
    figure = figure_of(parts, first)
    half = 1.96 * parts.std() / 20
    assert figure.value == pytest.approx(parts.mean())
    assert [figure.low, figure.high] == pytest.approx([parts.mean() - half, parts.mean() + half], abs=0.002)
    assert figure_of(parts, first) == figure


def test_questions_that_hardly_differ_get_a_wide_interval_instead_of_none():
    figure = figure_of(np.zeros((20, 1)), first)
    assert (figure.value, figure.low) == (0.0, 0.0)
    assert figure.high == pytest.approx(0.1611, abs=1e-4)  # Wilson's for 0 of 20
