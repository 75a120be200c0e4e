import pytest

from rl.config import Config
from rl.config_keys import hint_at
from rl.contract.free_keys import FREE_KEYS, KEPT_KEYS, require_free
from rl.errors import ConfigError


@pytest.mark.parametrize("key", FREE_KEYS + KEPT_KEYS)
def test_every_key_is_one_of_a_config(key: str) -> None:
    assert hint_at(key, "the list", root=Config)


def test_no_key_that_decides_a_bit_may_be_another() -> None:
    assert require_free(["rollout.num_actors=3"], FREE_KEYS, "a replay") == ["rollout.num_actors=3"]
    with pytest.raises(ConfigError, match=r"'seed=1': seed may decide a bit, and resume can only change .*num_actors"):
        require_free(["rollout.num_actors=3", "seed=1"], FREE_KEYS, "resume")
