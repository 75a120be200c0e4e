"""The trainer's forward pass without an optimizer, in a Ray actor of its own: for whoever only scores.

vLLM changes Hugging Face's model classes in its process, so an engine's process cannot do it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import torch

from kernels import seam
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from kernels.recurrent.exit import ExitRule, settled_depth
from rl.batching import micro_batches
from rl.canonical_model import certified_plan, load_canonical
from rl.policy_pool import policy_of
from rl.types import ScoredGroup
from rollout.deadlines import Deadlines, deadlines_of
from rollout.remote import answer, call
from rollout.types import PolicyVersion, Prompt, RolloutGroup
from rollout.weights import to_arrays

LEAST_S = 300.0
"""What every call may take, see `rollout/deadlines.py`."""
MAX_ROWS = 4096
"""Rows of one forward pass; no bit depends on it."""

GroupLogprobs = tuple[tuple[float, ...], ...]
"""By rollout, by token; each float is exactly an fp32 value."""


class ForwardPass:
    """A process that holds one checkpoint at a time. Ray must be up; `close` ends it."""

    def __init__(self) -> None:
        variables = compute_environment(threads=0, num_processes=1) | {"HF_HUB_OFFLINE": "1"}
        self._deadlines = Deadlines(LEAST_S)
        self._actor = ray.remote(num_cpus=0, runtime_env={"env_vars": variables})(_ForwardActor).remote()

    def load(
        self, model_dir: Path, dtype: str, max_model_len: int | None = None, plan: LinearPlan | None = None
    ) -> tuple[LinearPlan, Any]:
        """The certified linear and the model's config. Raises ValueError for a model that the seams do not cover.

        plan: certified for the model already; None certifies it first.
        """
        self._deadlines = deadlines_of(LEAST_S, model_dir)
        loaded: tuple[LinearPlan, Any] = self._ask(
            self._deadlines.start_s(), "load", str(model_dir.resolve()), dtype, max_model_len, plan
        )
        return loaded

    def policy(self) -> PolicyVersion:
        """The version of the weights."""
        policy: PolicyVersion = self._ask(self._deadlines.move_s(copies=4), "policy")
        return policy

    def put_weights(self) -> Any:
        """A Ray reference to the weights."""
        return self._ask(self._deadlines.move_s(copies=4), "put_weights")[0]

    def logprobs(
        self, groups: Sequence[RolloutGroup], temperature: float = 1.0, max_rows: int = MAX_ROWS
    ) -> list[GroupLogprobs]:
        """The log-probability of every completion token of `groups`."""
        within_s = self._deadlines.sample_s(sum(group.num_tokens for group in groups))
        logprobs: list[GroupLogprobs] = self._ask(within_s, "logprobs", groups, temperature, max_rows)
        return logprobs

    def settled_depths(self, prompts: Sequence[Prompt], rule: ExitRule) -> list[int]:
        """How deep the model has to go for each question, at most as deep as its config says."""
        num_looked_at = sum(len(prompt.token_ids) for prompt in prompts) * self._deadlines.num_runs
        within_s = self._deadlines.sample_s(num_looked_at)
        depths: list[int] = self._ask(within_s, "settled_depths", [prompt.token_ids for prompt in prompts], rule)
        return depths

    def close(self) -> None:
        """Nothing; the process ends."""
        ray.kill(self._actor)

    def _ask(self, within_s: float, method: str, *args: Any) -> Any:
        reference = getattr(self._actor, method).remote(*args)
        try:
            return answer(call("the forward pass", f"answering {method}", reference, within_s))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error


class _ForwardActor:
    def load(
        self, model_dir: str, dtype: str, max_model_len: int | None, plan: LinearPlan | None
    ) -> tuple[LinearPlan, Any]:
        plan = plan or certified_plan(model_dir, dtype, max_model_len)
        self._model = load_canonical(model_dir, dtype, plan)
        return plan, self._model.config

    def policy(self) -> PolicyVersion:
        return policy_of(self._model)[0]

    def put_weights(self) -> list[Any]:
        weights = {name: parameter.data for name, parameter in self._model.named_parameters()}
        return [ray.put(to_arrays(weights))]  # in a list, so that Ray hands the reference on unresolved

    def settled_depths(self, questions: Sequence[tuple[int, ...]], rule: ExitRule) -> list[int]:
        return [settled_depth(self._model, torch.tensor(token_ids), rule) for token_ids in questions]

    def logprobs(self, groups: Sequence[RolloutGroup], temperature: float, max_rows: int) -> list[GroupLogprobs]:
        found: dict[tuple[str, int], tuple[float, ...]] = {}
        scored = [ScoredGroup(group, (), (0.0,) * len(group.rollouts)) for group in groups]
        for batch in micro_batches(scored, max_rows):
            with torch.no_grad():
                values = seam.token_logprobs(
                    self._model, batch.token_ids, batch.layout, batch.predicting_rows, batch.targets, temperature
                ).logprobs
            rollouts = [rollout for piece in batch.slices for rollout in piece.rollouts]
            for rollout, logprobs in zip(rollouts, values.split(batch.lengths.tolist()), strict=True):
                found[rollout.prompt_id, rollout.sample] = tuple(logprobs.tolist())
        return [tuple(found[r.prompt_id, r.sample] for r in group.rollouts) for group in groups]
