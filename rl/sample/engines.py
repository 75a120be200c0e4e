"""The engines of a sampling, and the models beside them: the base, which says how likely completions are, and PRMs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernels.recurrent.depth import recurrence_of
from kernels.recurrent.exit import ExitRule
from rl.config import ModelConfig
from rl.errors import UserError, bad_input
from rl.forward import ForwardPass
from rl.models import load_tokenizer, resolved_dtype, stop_token_ids
from rl.policy_pool import policy_pool
from rl.recurrent.checkpoint import policy_folder
from rl.recurrent.flops import Cost, cost_of
from rl.room import require_model_room
from rl.sample.step_scorers import StepScorers
from rollout.config import RolloutConfig
from rollout.pool import RolloutPool
from rollout.types import Prompt


@dataclass(frozen=True)
class Thinker:
    """The model's own forward pass, asked when further thought changes nothing."""

    forward: ForwardPass
    rule: ExitRule

    def settle(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts, each with the depth that its question has to go to."""
        depths = self.forward.settled_depths(prompts, self.rule)
        return [replace(prompt, recurrence=depth) for prompt, depth in zip(prompts, depths, strict=True)]


@dataclass(frozen=True)
class Engines:
    """All of them are up and hold the checkpoint."""

    pool: RolloutPool
    base: ForwardPass
    """The base model's forward pass."""
    tokenizer: Any
    stop_token_ids: tuple[int, ...]
    max_model_len: int
    step_scorers: StepScorers
    cost: Cost
    """Of a token, at the depth of the engines."""
    thinker: Thinker | None
    """Says how deep each question has to go; None where all go as deep."""

    @property
    def policy(self) -> str:
        """Digest of the weights that every engine holds."""
        assert self.pool.policy is not None, "policy_pool publishes one"
        return self.pool.policy.digest


@contextmanager
def engines(
    model: ModelConfig, base: ModelConfig, dtype: str, rollout: RolloutConfig, seed: int, timeout_s: float
) -> Iterator[Engines]:
    """Engines for `model`, and `base` beside them; an empty path there is the model itself. Ray must be up; leaving
    ends them.

    Raises UserError for models that are not there, are not alike, or cannot be exact.
    """
    with ExitStack() as stack:
        with bad_input():
            model_dir = policy_folder(model, seed)
            base_dir = policy_folder(base, seed) if base.path else model_dir
            dtype = resolved_dtype(dtype)
            model_config = require_model_room(model_dir, rollout, dtype)
            tokenizer = load_tokenizer(model_dir)
            _require_same_tokens(tokenizer, base_dir)
            forward = ForwardPass()
            stack.callback(forward.close)
            forward.load(base_dir, dtype, rollout.max_model_len)
            thinker = _thinker(model, model_config)
            if thinker:
                stack.callback(thinker.forward.close)
                thinker.forward.load(model_dir, dtype, rollout.max_model_len)
            pool = stack.enter_context(policy_pool(model_dir, dtype, rollout, seed, timeout_s))
        step_scorers = StepScorers(tokenizer, timeout_s)
        stack.callback(step_scorers.close)
        stop_ids = stop_token_ids(model_dir, tokenizer)
        cost = cost_of(model_config)
        yield Engines(pool, forward, tokenizer, stop_ids, rollout.max_model_len, step_scorers, cost, thinker)


def _thinker(model: ModelConfig, model_config: Any) -> Thinker | None:
    if not model.exit.measure:
        return None
    if recurrence_of(model_config) is None:
        raise UserError(f"model.exit needs a recurrent-depth checkpoint, and {model.path} has no core; take it out")
    return Thinker(ForwardPass(), ExitRule(model.exit.measure, model.exit.threshold))


def _require_same_tokens(tokenizer: Any, base_dir: Path) -> None:
    if tokenizer.get_vocab() != load_tokenizer(base_dir).get_vocab():
        raise UserError(
            f"base_model in {base_dir} has another vocabulary than the model, so it cannot score its tokens"
        )
