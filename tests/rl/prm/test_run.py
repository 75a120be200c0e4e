"""Which run a folder belongs to."""

import pytest

from rl.errors import UserError
from rl.prm.config import load_prm_config
from rl.prm.run import begin

from ..commands import REPO


@pytest.fixture
def load(tmp_path):
    return lambda *overrides: load_prm_config(REPO / "configs" / "tiny_prm.yaml", [f"run.dir={tmp_path}", *overrides])


def test_a_run_is_begun_once_and_goes_on_with_the_same_config(load):
    written = begin(load()).config_path.read_bytes()
    assert begin(load()).config_path.read_bytes() == written


@pytest.mark.parametrize("free", ["rollout.num_actors=2", "checkpoint.every=1", "tracker=wandb", "trainer.threads=1"])
def test_what_decides_no_bit_may_change(load, free):
    begin(load())
    begin(load(free))


@pytest.mark.parametrize("other", ["seed=1", "epochs=2", "prm.family=pinball", "variants=[]", "collect.num_rollouts=3"])
def test_a_folder_of_another_config_is_left_alone(load, other):
    written = begin(load()).config_path.read_bytes()
    with pytest.raises(UserError, match="holds a run of another config"):
        begin(load(other))
    assert begin(load()).config_path.read_bytes() == written
