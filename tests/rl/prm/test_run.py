"""Which run a folder belongs to."""

import pytest

from rl.errors import UserError
from rl.prm.config import load_prm_config
from rl.prm.run import begin, train_prm

from ..commands import REPO


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def load(folder):
    return lambda *overrides: load_prm_config(REPO / "configs" / "tiny_prm.yaml", [f"run.dir={folder}", *overrides])


@pytest.fixture(scope="module")
def written(folder):
    """What a run that has drawn something has written down of its config."""
    config = load_prm_config(REPO / "configs" / "tiny_prm.yaml", [f"run.dir={folder}"])
    begun = begin(config)
    (folder / "data").mkdir()
    (folder / "data" / "questions.jsonl").write_text("{}\n")
    return begun.config_path.read_bytes()


def test_a_run_is_begun_once_and_goes_on_with_the_same_config(load, written):
    assert begin(load()).config_path.read_bytes() == written


@pytest.mark.parametrize("free", ["rollout.num_actors=2", "checkpoint.every=1", "tracker=wandb", "trainer.threads=1"])
def test_what_decides_no_bit_may_change(load, written, free):
    assert begin(load(free)).config_path.read_bytes() == written


@pytest.mark.parametrize("other", ["seed=1", "epochs=2", "prm.family=pinball", "variants=[]", "collect.num_rollouts=3"])
def test_a_folder_of_another_config_is_left_alone(load, folder, written, other):
    with pytest.raises(UserError, match="holds a run of another config"):
        begin(load(other))
    assert (folder / "config.yaml").read_bytes() == written


@pytest.fixture
def load_into(tmp_path):
    return lambda *overrides: load_prm_config(REPO / "configs" / "tiny_prm.yaml", [f"run.dir={tmp_path}", *overrides])


def test_while_nothing_was_drawn_another_config_takes_its_place(load_into, tmp_path):
    begin(load_into("seed=1"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "questions.jsonl").write_text('{"prompt_id": "cut sho')
    assert load_prm_config(begin(load_into("seed=2")).config_path).seed == 2


def test_what_was_trained_is_left_alone_though_what_was_drawn_is_gone(load_into, tmp_path):
    begin(load_into("seed=1"))
    (tmp_path / "ledger.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="holds a run of another config"):
        begin(load_into("seed=2"))


def test_a_run_of_another_command_is_left_alone(load_into, tmp_path):
    (tmp_path / "config.yaml").write_text("steps: 4\n")
    with pytest.raises(UserError, match="holds what `zerokl train` left"):
        begin(load_into())
    assert (tmp_path / "config.yaml").read_text() == "steps: 4\n"


def test_a_mistyped_reward_function_is_told_before_anything_is_written(load_into, tmp_path):
    with pytest.raises(UserError, match="did you mean 'digit_share'"):
        train_prm(load_into("reward.functions=[{name: digit_shar}]"))
    assert list(tmp_path.iterdir()) == []


def test_a_drawing_that_cannot_go_on_is_told_before_ray_starts(load_into, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "questions.jsonl").write_text("{}\n")
    monkeypatch.setattr("rl.prm.run.ray_cluster", lambda: pytest.fail("Ray is started"))
    with pytest.raises(UserError, match="drawn otherwise"):
        train_prm(load_into())
