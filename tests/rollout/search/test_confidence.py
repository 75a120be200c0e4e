import pytest

from rollout.search.confidence import MEASURES, first_below, group_confidences, scaled_window

TRACE = [4.0, 2.0, 6.0, 1.0, 3.0]


def test_groups_are_means_of_a_sliding_window():
    assert group_confidences(TRACE, 2).tolist() == [3.0, 4.0, 3.5, 2.0]


def test_a_trace_shorter_than_the_window_is_one_group():
    assert group_confidences(TRACE, 100).tolist() == [3.2]


def test_groups_of_a_prefix_have_the_bits_of_the_whole_trace():
    trace = [1 / (i + 3) for i in range(200)]
    whole = group_confidences(trace, 7).tolist()
    assert all(group_confidences(trace[:n], 7).tolist() == whole[: n - 6] for n in range(7, 200))


@pytest.mark.parametrize(
    ("measure", "expected"), [("mean", 3.2), ("lowest_group", 2.0), ("bottom_groups", 2.0), ("tail", 2.0)]
)
def test_measures_written_out_by_hand(measure, expected):
    assert MEASURES[measure](TRACE, 2) == pytest.approx(expected)


def test_the_bottom_groups_are_the_least_sure_tenth():
    assert MEASURES["bottom_groups"]([*range(20, 0, -1)], 1) == 1.5


def test_the_first_full_window_below_the_threshold_says_where_a_trace_stops():
    assert first_below(TRACE, 2, 3.6) == 2
    assert first_below(TRACE, 2, 3.0) == 5
    assert first_below(TRACE, 2, 2.0) is None
    assert first_below(TRACE, 6, 100.0) is None


@pytest.mark.parametrize(("longest", "window"), [(65536, 2048), (1024, 64), (64, 4), (8, 1)])
def test_the_window_is_scaled_to_short_answers(longest, window):
    assert scaled_window(longest) == window


def test_an_empty_trace_has_no_confidence():
    with pytest.raises(ValueError, match="without tokens"):
        group_confidences([], 2)
