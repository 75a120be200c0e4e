import pytest

from rl.compare.labels import spread


def test_labels_that_would_overlap_give_way_to_each_other_evenly() -> None:
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([0.9, 0.2, 0.25], 0.1) == pytest.approx([0.9, 0.175, 0.275])


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([0.8, 0.1, 0.4], 0.2) == pytest.approx([0.8, 0.1, 0.4])


def test_no_label_leaves_the_figure_and_too_many_share_what_room_there_is() -> None:
    assert spread([1.0, 1.0, 1.0], 0.1) == pytest.approx([0.8, 0.9, 1.0])
    assert spread([0.5] * 5, 0.9) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert spread([], 0.1) == [] and spread([0.3], 0.1) == [0.3]
