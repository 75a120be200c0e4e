"""What lies in `data/`."""

import pytest

from rl.contract.recorded import ContractChanged
from rl.errors import UserError
from rl.prm.folder import DataFolder

from .drawn import question

QUESTION = question("train/0/3", 1, 2)
DECIDING = {"seed": 0, "rate": 1e-6, "names": ["a", "1"], "parts": {"0": {"on": True}}}


def test_a_question_is_read_back_as_it_was_written(tmp_path):
    folder = DataFolder(tmp_path / "data")
    assert folder.open(DECIDING) == 0
    folder.append(QUESTION)
    assert folder.questions() == [QUESTION]


def test_a_line_that_was_cut_short_is_drawn_again(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open(DECIDING)
    folder.append(QUESTION)
    with folder.questions_path.open("a") as file:
        file.write('{"prompt_id": "train/0')
    assert folder.open(DECIDING) == 1
    assert folder.questions() == [QUESTION]


def test_what_another_config_drew_is_left_alone(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open(DECIDING)
    folder.append(QUESTION)
    before = folder.config_path.read_bytes()
    with pytest.raises(ContractChanged, match="holds rollouts that were drawn otherwise: seed: 0 -> 1;"):
        folder.open({**DECIDING, "seed": 1})
    assert folder.config_path.read_bytes() == before


def test_while_nothing_is_drawn_another_config_takes_its_place(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open({**DECIDING, "seed": 1})
    folder.append_effort(8, 60.0)
    folder.questions_path.write_text('{"prompt_id": "train/0')
    assert folder.open(DECIDING) == 0
    assert folder.wall_s() == 0
    folder.append(QUESTION)
    assert folder.open(DECIDING) == 1


def test_rollouts_beside_which_nothing_says_how_they_were_drawn_are_left_alone(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open(DECIDING)
    folder.append(QUESTION)
    folder.config_path.unlink()
    with pytest.raises(ContractChanged, match="seed: nothing -> 0"):
        folder.open(DECIDING)


def test_a_line_that_nobody_wrote_is_named(tmp_path):
    folder = DataFolder(tmp_path)
    folder.open(DECIDING)
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
