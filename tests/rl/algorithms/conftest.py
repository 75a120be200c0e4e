"""Batches for losses, groups for advantages, and TRL 1.16 computing both."""

import ast
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reward.types import Reward
from rl.types import BatchTotals, LossInputs, RewardedGroup
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

LENGTHS = [3, 1, 5, 2, 4, 4]
ADVANTAGES = [1.3, -0.7, 0.4, -1.1, 0.0, 0.9]
MAX_NEW_TOKENS = 8
TOTALS = BatchTotals(num_rollouts=len(LENGTHS), num_tokens=sum(LENGTHS), max_new_tokens=MAX_NEW_TOKENS)
SPREADS = (0.0, 0.05, 0.3, 1.0)
"""Standard deviations of log-ratios, from on-policy to far off."""


def inputs(logprobs, rollout_logprobs, advantages, lengths, reference_logprobs=None) -> LossInputs:
    lengths = torch.tensor(lengths)
    return LossInputs(
        logprobs=logprobs,
        rollout_logprobs=rollout_logprobs,
        advantages=torch.tensor(advantages),
        rollout_index=torch.repeat_interleave(torch.arange(len(lengths)), lengths),
        lengths=lengths,
        reference_logprobs=reference_logprobs,
    )


def off_policy(spread: float = 0.3, advantages: Sequence[float] = ADVANTAGES) -> LossInputs:
    """Six rollouts with ratios on both sides of 1, advantages of both signs, and a reference."""
    generator = torch.Generator().manual_seed(0)
    rollout_logprobs = -torch.rand(sum(LENGTHS), generator=generator) * 3
    logprobs = rollout_logprobs + torch.randn(sum(LENGTHS), generator=generator) * spread
    reference_logprobs = rollout_logprobs + torch.randn(sum(LENGTHS), generator=generator) * 0.5
    return inputs(logprobs.requires_grad_(), rollout_logprobs, advantages, LENGTHS, reference_logprobs)


def loss_and_gradient(algorithm, batch: LossInputs, totals: BatchTotals = TOTALS) -> tuple[float, torch.Tensor]:
    loss = algorithm.loss(batch, totals)
    assert (loss.dtype, loss.shape) == (torch.float32, ())
    return loss.item(), torch.autograd.grad(loss, batch.logprobs)[0]


def rewarded(
    rewards: Sequence[float],
    lengths: Sequence[int] | None = None,
    logprobs: Sequence[Sequence[float]] | None = None,
    prompt: str = "train/0/0",
) -> RewardedGroup:
    """A group with these rewards; of one token each, equally likely, unless said."""
    logprobs = logprobs or [[-1.0] * length for length in lengths or [1] * len(rewards)]
    rollouts = tuple(
        Rollout(prompt, i, (7,) * len(tokens), tuple(tokens), "", False) for i, tokens in enumerate(logprobs)
    )
    group = RolloutGroup(Prompt(prompt, "", (1,), {}), rollouts, PolicyVersion(0, ""))
    return RewardedGroup(group, tuple(Reward(reward, {}) for reward in rewards))


def advantages(algorithm, *groups: RewardedGroup | Sequence[float]) -> list[list[float]]:
    """The algorithm's advantages of groups, each given whole or as its rewards."""
    whole = [group if isinstance(group, RewardedGroup) else rewarded(group) for group in groups]
    return [list(group) for group in algorithm.advantages(whole, MAX_NEW_TOKENS)]


class TRL:
    """TRL's trainers, imported as if vLLM were missing: importing vLLM is slow and changes transformers."""

    def __init__(self) -> None:
        import trl.import_utils as import_utils

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_utils, "is_vllm_available", lambda min_version=None: False)
            from trl.trainer.grpo_trainer import GRPOTrainer
            from trl.trainer.rloo_trainer import RLOOTrainer
        self._grpo, self._rloo = GRPOTrainer, RLOOTrainer

    def grpo_loss(self, batch: LossInputs, **settings: Any) -> tuple[float, torch.Tensor, dict[str, list[float]]]:
        """Loss, gradient and metrics of `GRPOTrainer._compute_loss` on the batch; only the forward pass is replaced."""
        extra = {
            "old_per_token_logps": _padded(batch.rollout_logprobs),
            "ref_per_token_logps": _padded(batch.reference_logprobs),
            "num_items_in_batch": torch.tensor(sum(LENGTHS)),
        }
        defaults = {
            "args": SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False),
            "beta": 0.0,
            "epsilon_high": 0.2,
            "epsilon_low": 0.2,
            "importance_sampling_level": "token",
            "loss_type": "grpo",
        }
        return _loss(self._grpo, batch, extra, defaults | settings)

    def rloo_loss(self, batch: LossInputs) -> tuple[float, torch.Tensor, dict[str, list[float]]]:
        """The same of `RLOOTrainer._compute_loss`."""
        extra = {"old_logps": _padded(batch.rollout_logprobs).sum(1)}
        return _loss(self._rloo, batch, extra, {"epsilon_low": 0.2, "epsilon_high": 0.2})

    def grpo_advantages(self, rewards: list[list[float]], scale_rewards: str = "group") -> torch.Tensor:
        """Advantages by the one statement of `GRPOTrainer` that computes them, run as it stands."""
        choice = "self.multi_objective_aggregation == 'sum_then_normalize'"
        tree = _source(self._grpo._generate_and_score_completions)
        statements = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == choice]
        assert len(statements) == 1
        fake = SimpleNamespace(
            multi_objective_aggregation="sum_then_normalize",
            reward_weights=torch.ones(1),
            scale_rewards=scale_rewards,
        )
        names = {
            "rewards_per_func": torch.tensor(rewards).flatten()[:, None],
            "unscorable_mask": torch.zeros(sum(map(len, rewards)), dtype=torch.bool),
        }
        return _run(self._grpo, statements, fake, rewards, names)

    def rloo_advantages(self, rewards: list[list[float]]) -> torch.Tensor:
        """Advantages by the statements of `RLOOTrainer` from grouped rewards to its last word on them."""
        (body,) = _source(self._rloo._generate_and_score_completions).body
        text = [ast.unparse(statement) for statement in body.body]
        first = text.index("grouped_rewards = rewards.view(-1, num_generations)")
        last = text.index("advantages = torch.nan_to_num(advantages, nan=0.0)")
        names = {"rewards": torch.tensor(rewards).flatten()}
        return _run(
            self._rloo, body.body[first : last + 1], SimpleNamespace(normalize_advantages=False), rewards, names
        )


@pytest.fixture(scope="session")
def trl() -> TRL:
    return TRL()


def _padded(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(values.split(LENGTHS), batch_first=True)


def _loss(
    trainer: Any, batch: LossInputs, extra: dict[str, torch.Tensor], settings: dict[str, Any]
) -> tuple[float, torch.Tensor, dict[str, list[float]]]:
    mask = _padded(torch.ones(sum(LENGTHS), dtype=torch.int64))
    logprobs = _padded(batch.logprobs)
    accelerator = SimpleNamespace(reduce=lambda x, reduction: x, gather=lambda x: x, num_processes=1)
    fake = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=accelerator,
        aux_loss_enabled=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=MAX_NEW_TOKENS,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
    )
    vars(fake).update(settings)
    prompt = torch.ones(len(LENGTHS), 2, dtype=torch.int64)
    rollouts = {"prompt_ids": prompt, "prompt_mask": prompt, "completion_ids": mask, "completion_mask": mask}
    loss = trainer._compute_loss(fake, None, rollouts | {"advantages": batch.advantages} | extra)
    return loss.item(), torch.autograd.grad(loss, batch.logprobs)[0], fake._metrics["train"]


def _source(function: Any) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _run(
    trainer: Any, statements: list[ast.stmt], fake: SimpleNamespace, rewards: list[list[float]], names: dict[str, Any]
) -> torch.Tensor:
    scope = vars(inspect.getmodule(trainer)) | names
    scope |= {"self": fake, "num_generations": len(rewards[0]), "device": "cpu"}
    exec(compile(ast.Module(statements, []), "trl", "exec"), scope)
    return scope["advantages"].view(len(rewards), -1)
