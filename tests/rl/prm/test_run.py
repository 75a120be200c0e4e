"""Which run a folder belongs to."""

import pytest

from rl.errors import UserError
from rl.prm.config import load_prm_config
from rl.prm.run import begin

from ..commands import REPO


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def load(folder):
    return lambda *overrides: load_prm_config(REPO / "configs" / "tiny_prm.yaml", [f"run.dir={folder}", *overrides])


@pytest.fixture(scope="module")
def written(folder):
    """What a run that was begun has written down."""
    config = load_prm_config(REPO / "configs" / "tiny_prm.yaml", [f"run.dir={folder}"])
    return begin(config).config_path.read_bytes()


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
