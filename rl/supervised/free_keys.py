"""Which keys of a supervised run's config may be another when it is gone on with: they decide no bit."""

from rl.contract.free_keys import FREE_KEYS, KEPT_KEYS

_OF_ROLLOUTS = ("rollout.", "reward.")
SUPERVISED_FREE_KEYS = tuple(key for key in FREE_KEYS + KEPT_KEYS if not key.startswith(_OF_ROLLOUTS))
