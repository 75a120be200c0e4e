import pytest

from kernels.attention import Sequence
from reward.prm.packing import pack_inputs
from reward.prm.steps import StepInput


def given(question, solution, *places):
    """A question and a solution of so many tokens, with places behind the question's end."""
    tokens = (*range(100, 100 + question), *range(solution))
    ends = (0, *places)
    return StepInput(tokens, ends, tuple(question - 1 + end for end in ends))


def test_solutions_of_a_question_are_packed_behind_one_copy_of_it():
    [pack] = pack_inputs([given(3, 4, 2, 4), given(3, 2, 1)], max_rows=100)
    assert pack.token_ids.tolist() == [100, 101, 102, 0, 1, 2, 3, 0]
    assert pack.layout.sequences == (Sequence(0, 3), Sequence(3, 4, 0, 3), Sequence(7, 1, 0, 3))
    assert pack.rows.tolist() == [2, 4, 6, 2, 7]
    assert (pack.members, pack.num_places) == ((0, 1), (3, 2))


def test_what_stands_behind_the_last_place_is_not_read():
    [pack] = pack_inputs([given(2, 9, 3)], max_rows=100)
    assert pack.token_ids.tolist() == [100, 101, 0, 1, 2]


def test_a_question_alone_needs_no_second_sequence():
    [pack] = pack_inputs([given(2, 0)], max_rows=100)
    assert pack.layout.sequences == (Sequence(0, 2),)
    assert pack.rows.tolist() == [1]


def test_questions_are_put_next_to_their_own_and_packs_are_kept_small():
    inputs = [given(2, 3, 3), given(4, 3, 3), given(2, 3, 2), given(2, 50, 50)]
    packs = pack_inputs(inputs, max_rows=10)
    assert [pack.members for pack in packs] == [(0, 2), (3,), (1,)]
    assert [len(pack.token_ids) for pack in packs] == [7, 52, 7]


@pytest.mark.parametrize("max_rows", [1, 6, 1000])
def test_every_sequence_is_in_one_pack(max_rows):
    inputs = [given(2 + index % 3, 4, 1, 4) for index in range(7)]
    packs = pack_inputs(inputs, max_rows)
    assert sorted(member for pack in packs for member in pack.members) == list(range(7))


def test_nothing_to_read_needs_no_pack():
    assert pack_inputs([], max_rows=10) == []
