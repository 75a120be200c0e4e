"""Which keys of a config may be another when a run is gone on with, or replayed: they decide no bit."""

from collections.abc import Sequence

from rl.errors import ConfigError

FREE_KEYS = (
    "rollout.num_actors",
    "rollout.max_num_seqs",
    "rollout.max_num_batched_tokens",
    "rollout.prefix_caching",
    "rollout.kv_cache_gib",
    "rollout.threads",
    "reward.num_workers",
    "reward.time_limit_s",
    "trainer.world_size",
    "trainer.zero_stage",
    "trainer.gradient_checkpointing",
    "trainer.threads",
    "trainer.timeout_s",
)
"""How the work is shared out, and how long it may take."""
KEPT_KEYS = (
    "evaluation.every",
    "checkpoint.every",
    "checkpoint.keep",
    "tracker",
    "tracking.project",
    "tracking.group",
    "tracking.tags",
    "tracking.name",
    "tracking.samples_every",
    "tracking.log_model",
    "tracking.max_model_gib",
    "tracking.upload_timeout_s",
)
"""What is looked at and kept on the way; a replay does neither."""


def require_free(overrides: Sequence[str], keys: Sequence[str], doing: str) -> list[str]:
    """The overrides. Raises ConfigError naming the first whose key is none of `keys`.

    doing: `a replay`, `resume`.
    """
    for override in overrides:
        key = override.partition("=")[0]
        if key not in keys:
            raise ConfigError(
                f"override {override!r}: {key} may decide a bit, and {doing} can only change what does not: "
                f"{', '.join(keys)}"
            )
    return list(overrides)
