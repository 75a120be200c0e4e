"""The guarantee on real vLLM and DeepSpeed: both compute the same numbers, however either cuts its work."""

import dataclasses

import pytest
import torch

from rl.batching import micro_batches
from rollout.config import RolloutConfig
from rollout.types import SamplingParams

from ..conftest import SAMPLING, Stack, batch_of

pytestmark = pytest.mark.engine


def trainer_logprobs(trainer, batch, max_rows: int) -> list[float]:
    """What the trainer computes for a batch, in micro-batches of at most `max_rows` rows."""
    from kernels import seam
    from kernels.logprobs import projected_logprobs

    head, values = trainer._model.get_output_embeddings(), []
    with torch.no_grad(), trainer.ready_to_compute():
        for mb in micro_batches(batch.groups, max_rows):
            hidden = seam.hidden_states(trainer._model, mb.token_ids, mb.layout)[mb.predicting_rows]
            scored = projected_logprobs(hidden, head.weight, head.packed, mb.targets, batch.temperature)
            values += scored.logprobs.tolist()
    return values


def rollout_logprobs(batch) -> list[float]:
    return [x for group in batch.groups for rollout in group.group.rollouts for x in rollout.rollout_logprobs]


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.9, 0.005])
def test_every_rollout_logprob_is_the_trainers(stack: Stack, temperature: float) -> None:
    sampling = dataclasses.replace(SAMPLING, temperature=temperature)
    batch = batch_of(stack.sample(sampling), sampling)
    sampled = rollout_logprobs(batch)
    assert len(sampled) > 100
    for max_rows in (4096, 150, 1):
        assert stack.trainer.call(trainer_logprobs, batch, max_rows) == sampled


def test_rollouts_do_not_depend_on_actors_batching_or_caching(stack: Stack) -> None:
    generous = RolloutConfig(num_actors=1, max_model_len=256, prefix_caching=False, kv_cache_gib=0.05)
    other = stack.other_pool(generous)
    try:
        assert stack.sample(pool=other) == stack.sample()
    finally:
        other.close()


def test_a_prefix_that_is_cached_gives_the_same_rollouts(stack: Stack) -> None:
    assert stack.sample() == stack.sample()


def test_rollouts_differ_between_samples_of_a_prompt(stack: Stack) -> None:
    for group in stack.sample():
        assert len({rollout.token_ids for rollout in group.rollouts}) > 1


def test_greedy_rollouts_of_a_prompt_are_all_the_same(stack: Stack) -> None:
    greedy = SamplingParams(temperature=0.0, max_new_tokens=16, stop_token_ids=(2,))
    for group in stack.sample(greedy):
        assert len({rollout.token_ids for rollout in group.rollouts}) == 1


def test_the_guarantee_holds_over_optimizer_steps(stack: Stack) -> None:
    start = stack.trainer.policy().step
    digests = {stack.trainer.policy().digest}
    for step in range(start + 1, start + 4):
        proof = stack.trainer.step(batch_of(stack.sample(), step=step), 1e-3)
        assert proof.num_mismatched == 0 and proof.num_tokens > 50
        stack.publish()
        digests.add(proof.policy.digest)
    assert len(digests) == 4
