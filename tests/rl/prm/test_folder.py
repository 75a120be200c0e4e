"""What lies in `data/`."""

import pytest

from rl.errors import UserError
from rl.prm.folder import DataFolder

from .drawn import question

QUESTION = question("train/0/3", 1, 2)


def test_a_question_is_read_back_as_it_was_written(tmp_path):
    folder = DataFolder(tmp_path / "data")
    assert folder.open("seed: 0\n") == 0
    folder.append(QUESTION)
    assert folder.questions() == [QUESTION]


def test_a_line_that_was_cut_short_is_drawn_again(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open("seed: 0\n")
    folder.append(QUESTION)
    with folder.questions_path.open("a") as file:
        file.write('{"prompt_id": "train/0')
    assert folder.open("seed: 0\n") == 1
    assert folder.questions() == [QUESTION]


def test_what_another_config_drew_is_left_alone(tmp_path):
    DataFolder(tmp_path).open("seed: 0\n")
    with pytest.raises(UserError, match="rollouts of another config"):
        DataFolder(tmp_path).open("seed: 1\n")


def test_a_line_that_nobody_wrote_is_named(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open("seed: 0\n")
    folder.append(QUESTION)
    with folder.questions_path.open("a") as file:
        file.write('{"prompt_id": "train/0/4"}\n')
    with pytest.raises(UserError, match="line 2"):
        folder.questions()


def test_a_success_is_a_finished_rollout_with_enough_reward():
    prefix = question("q", 2, 0).prefixes[0]
    assert prefix.rewards == (1.0, 1.0, 0.0, None)
    assert prefix.num_successes(4, 1.0) == 2
    assert prefix.num_successes(4, 0.0) == 3
    assert prefix.num_successes(1, 1.0) == 1


def test_all_tokens_that_were_drawn_count():
    assert QUESTION.num_drawn == 4 + 2 + 4 * 4 + 4 * 2
