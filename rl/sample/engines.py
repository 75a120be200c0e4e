"""The engines of a sampling, and the base model beside them that says how likely completions are."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.errors import UserError, bad_input
from rl.forward import ForwardPass
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, resolved_dtype, stop_token_ids
from rl.policy_pool import policy_pool
from rollout.config import RolloutConfig
from rollout.pool import RolloutPool


@dataclass(frozen=True)
class Engines:
    """All of them are up and hold the checkpoint."""

    pool: RolloutPool
    base: ForwardPass
    """The base model's forward pass."""
    tokenizer: Any
    stop_token_ids: tuple[int, ...]
    max_model_len: int

    @property
    def policy(self) -> str:
        """Digest of the weights that every engine holds."""
        assert self.pool.policy is not None, "policy_pool publishes one"
        return self.pool.policy.digest


@contextmanager
def engines(
    model: str, base_model: str, dtype: str, rollout: RolloutConfig, seed: int, timeout_s: float
) -> Iterator[Engines]:
    """Engines for `model`, as `model.path` in a config. Ray must be up; leaving ends them.

    Raises UserError for models that are not there, are not alike, or cannot be exact.
    """
    with ExitStack() as stack:
        with bad_input():
            model_dir = resolve_model(model, MODEL_CACHE, seed=seed).resolve()
            base_dir = resolve_model(base_model or model, MODEL_CACHE, seed=seed).resolve()
            tokenizer = load_tokenizer(model_dir)
            _require_same_tokens(tokenizer, base_dir)
            dtype = resolved_dtype(dtype)
            base = ForwardPass()
            stack.callback(base.close)
            base.load(base_dir, dtype, rollout.max_model_len)
            pool = stack.enter_context(policy_pool(model_dir, dtype, rollout, seed, timeout_s))
        yield Engines(pool, base, tokenizer, stop_token_ids(model_dir, tokenizer), rollout.max_model_len)


def _require_same_tokens(tokenizer: Any, base_dir: Path) -> None:
    if tokenizer.get_vocab() != load_tokenizer(base_dir).get_vocab():
        raise UserError(
            f"base_model in {base_dir} has another vocabulary than the model, so it cannot score its tokens"
        )
