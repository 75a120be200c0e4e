import ast
import inspect
import textwrap
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from rl.algorithms.grpo import GRPO
from rl.types import BatchTotals, LossInputs

LENGTHS = [3, 1, 5, 2, 4, 4]


def inputs(logprobs, rollout_logprobs, advantages, lengths):
    lengths = torch.tensor(lengths)
    return LossInputs(
        logprobs=logprobs,
        rollout_logprobs=rollout_logprobs,
        advantages=torch.tensor(advantages),
        rollout_index=torch.repeat_interleave(torch.arange(len(lengths)), lengths),
        lengths=lengths,
    )


def totals(num_rollouts, num_tokens):
    return BatchTotals(num_rollouts=num_rollouts, num_tokens=num_tokens, max_new_tokens=8)


def off_policy(spread=0.3):
    """Six rollouts whose ratios lie on both sides of the clipping range, with advantages of both signs."""
    generator = torch.Generator().manual_seed(0)
    rollout_logprobs = -torch.rand(sum(LENGTHS), generator=generator) * 3
    logprobs = rollout_logprobs + torch.randn(sum(LENGTHS), generator=generator) * spread
    return inputs(logprobs.requires_grad_(), rollout_logprobs, [1.3, -0.7, 0.4, -1.1, 0.0, 0.9], LENGTHS)


def test_advantages_are_rewards_less_their_mean_over_their_standard_deviation():
    # mean 1/2; variance with n - 1: 4 * 1/4 / 3 = 1/3
    high = 0.5 / ((1 / 3) ** 0.5 + 1e-4)
    assert GRPO().advantages([1.0, 0.0, 0.0, 1.0]) == pytest.approx([high, -high, -high, high], rel=1e-12)
    # mean 2; variance (4 + 0 + 4) / 2 = 4
    assert GRPO(std_eps=0.5).advantages([0.0, 2.0, 4.0]) == pytest.approx([-0.8, 0.0, 0.8], rel=1e-12)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1e9])
def test_a_group_of_equal_rewards_has_advantages_of_exactly_zero_and_is_silent(reward):
    advantages = GRPO().advantages([reward] * 7)
    assert advantages == [0.0] * 7
    assert GRPO().is_silent(advantages)


def test_a_group_with_any_advantage_is_not_silent():
    assert not GRPO().is_silent(GRPO().advantages([0.0, 0.0, 1.0]))
    assert not GRPO().is_silent([0.0, -1e-30])


def test_loss_written_out_by_hand():
    # Ratios 1.5 and 1 with advantage 1: min(1.5, 1.2) and 1, mean 1.1. Ratio 1/2 with advantage -2: min(-1, -1.6).
    rollout_logprobs = torch.tensor([-2.0, -1.0, -0.5])
    logprobs = rollout_logprobs + torch.tensor([1.5, 1.0, 0.5]).log()
    loss = GRPO().loss(inputs(logprobs, rollout_logprobs, [1.0, -2.0], [2, 1]), totals(2, 3))
    assert loss.item() == pytest.approx(-(1.1 - 1.6) / 2, abs=1e-6)
    assert (loss.dtype, loss.shape) == (torch.float32, ())


def test_the_clipping_range_is_a_parameter():
    rollout_logprobs = torch.tensor([-2.0])
    logprobs = rollout_logprobs + torch.tensor([1.5]).log()
    loss = GRPO(clip=0.4).loss(inputs(logprobs, rollout_logprobs, [1.0], [1]), totals(1, 1))
    assert loss.item() == pytest.approx(-1.4, abs=1e-6)


def test_the_share_is_of_the_whole_batch():
    share = GRPO().loss(off_policy(), totals(24, 100))
    assert share.item() == pytest.approx(GRPO().loss(off_policy(), totals(6, 19)).item() / 4, rel=1e-6)


def test_shares_of_two_micro_batches_add_up_to_the_loss():
    batch, cut = off_policy(), sum(LENGTHS[:2])
    parts = [
        inputs(batch.logprobs[tokens], batch.rollout_logprobs[tokens], batch.advantages[some].tolist(), LENGTHS[some])
        for tokens, some in ((slice(0, cut), slice(0, 2)), (slice(cut, None), slice(2, None)))
    ]
    shares = [GRPO().loss(part, totals(6, 19)).item() for part in parts]
    assert sum(shares) == pytest.approx(GRPO().loss(batch, totals(6, 19)).item(), abs=1e-7)
    assert min(abs(share) for share in shares) > 0.01


def test_on_policy_gradient_of_a_token_is_minus_its_advantage_over_rollouts_and_length():
    logprobs = torch.tensor([-1.0, -2.0, -0.1, -0.2, -0.3, -0.4])
    leaf = logprobs.clone().requires_grad_()
    GRPO().loss(inputs(leaf, logprobs, [1.5, -0.5], [2, 4]), totals(2, 6)).backward()
    # -1.5 / (2 * 2) and 0.5 / (2 * 4): exact in fp32.
    assert leaf.grad.tolist() == [-0.375, -0.375, 0.0625, 0.0625, 0.0625, 0.0625]


def test_on_policy_gradient_is_independent_of_the_log_probabilities_in_all_bits():
    grads = []
    for seed in (0, 1):
        logprobs = -torch.rand(19, generator=torch.Generator().manual_seed(seed)) * 9
        leaf = logprobs.clone().requires_grad_()
        GRPO().loss(inputs(leaf, logprobs, [1.3, -0.7, 0.4, -1.1, 0.3, 0.9], LENGTHS), totals(6, 19)).backward()
        grads.append(leaf.grad)
    assert torch.equal(*grads)


# Against TRL itself.


@pytest.fixture(scope="module")
def trl_trainer():
    """TRL's GRPOTrainer, imported as if vLLM were missing: importing vLLM is slow and changes transformers."""
    import trl.import_utils as import_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_utils, "is_vllm_available", lambda min_version=None: False)
        from trl.trainer.grpo_trainer import GRPOTrainer
    return GRPOTrainer


def padded(values):
    return torch.nn.utils.rnn.pad_sequence(values.split(LENGTHS), batch_first=True)


def trl_loss(trainer, batch):
    """TRL computing its loss on the batch: its own `_compute_loss`, with the model's forward pass replaced."""
    mask = padded(torch.ones(sum(LENGTHS), dtype=torch.int64))
    logprobs = padded(batch.logprobs)
    accelerator = SimpleNamespace(reduce=lambda x, reduction: x, gather=lambda x: x)
    fake = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=accelerator,
        args=SimpleNamespace(delta=None),
        aux_loss_enabled=False,
        beta=0.0,
        current_gradient_accumulation_steps=1,
        epsilon_high=0.2,
        epsilon_low=0.2,
        importance_sampling_level="token",
        loss_type="grpo",
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
    )
    prompt = torch.ones(len(LENGTHS), 2, dtype=torch.int64)
    loss = trainer._compute_loss(
        fake,
        None,
        {
            "prompt_ids": prompt,
            "prompt_mask": prompt,
            "completion_ids": mask,
            "completion_mask": mask,
            "advantages": batch.advantages,
            "old_per_token_logps": padded(batch.rollout_logprobs),
        },
    )
    return loss, fake._metrics["train"]


def test_loss_and_gradient_are_trls_on_and_off_policy(trl_trainer):
    for spread in (0.0, 0.05, 0.3, 1.0):
        mine, theirs = off_policy(spread), off_policy(spread)
        loss = GRPO().loss(mine, totals(6, 19))
        expected, metrics = trl_loss(trl_trainer, theirs)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(mine.logprobs.grad, theirs.logprobs.grad, rtol=1e-6, atol=1e-7)
    # The last batch was clipped on both sides, by TRL's own account.
    assert metrics["clip_ratio/low_mean"][0] > 0
    assert metrics["clip_ratio/high_mean"][0] > 0


def trl_advantages(trainer, rewards):
    """TRL computing advantages: the one statement of its source that does so, run as it stands."""
    module = inspect.getmodule(trainer)
    tree = ast.parse(textwrap.dedent(inspect.getsource(trainer._generate_and_score_completions)))
    choice = "self.multi_objective_aggregation == 'sum_then_normalize'"
    (statement,) = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == choice]
    rewards = torch.tensor(rewards)
    fake = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize", reward_weights=torch.ones(1), scale_rewards="group"
    )
    names = vars(module) | {
        "self": fake,
        "rewards_per_func": rewards.flatten()[:, None],
        "unscorable_mask": torch.zeros(rewards.numel(), dtype=torch.bool),
        "num_generations": rewards.shape[1],
        "device": "cpu",
    }
    exec(compile(ast.Module([statement], []), "trl", "exec"), names)
    return names["advantages"].view(rewards.shape)


def test_advantages_are_trls(trl_trainer):
    rewards = [[1.0, 0.0, 0.0, 1.0], [0.3, -2.0, 7.0, 0.3], [0.0, 0.0, 0.0, 1e-3], [5.0, 5.0, 5.0, 5.0]]
    mine = torch.tensor([GRPO().advantages(group) for group in rewards])
    torch.testing.assert_close(mine, trl_advantages(trl_trainer, rewards), rtol=1e-5, atol=1e-6)
