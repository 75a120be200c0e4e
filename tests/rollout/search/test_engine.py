"""Search methods on real engines: what they read there is what the trainer would compute, whichever engine drew it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rl.forward import ForwardPass
from rollout.draws import DrawKey
from rollout.engine import VLLMEngine
from rollout.extension import Continuation, Extension, Scoring
from rollout.pool import RolloutPool
from rollout.search.deepconf import DeepConf
from rollout.search.deepconf_online import DeepConfOnline
from rollout.search.metropolis import acceptance_log_ratio
from rollout.search.plain import Temperature
from rollout.search.power import PowerSampling
from rollout.search.smc import PowerSMC
from rollout.search.types import Outcome, SearchMethod, Task, Tools
from rollout.types import Prompt, Rollout, RolloutGroup, SamplingParams

from ...conftest import make_prompts, squeezed

pytestmark = pytest.mark.engine

STOPS = tuple(range(0, 128, 24))
"""So many that some completions of a random model end."""
POWER = PowerSampling(alpha=3.0, block_tokens=8, max_new_tokens=20, num_steps=2)
PLAIN = Temperature(temperature=0.7, max_new_tokens=20)


@dataclass
class Engines:
    """Two engines, and a forward pass over the same weights."""

    pool: RolloutPool
    forward: ForwardPass
    model_dir: Path
    prompts: list[Prompt]

    def search(self, method: SearchMethod, sampler: object = None) -> tuple[Outcome, ...]:
        tasks = [Task(prompt, sample) for prompt in self.prompts for sample in range(2)]
        tools = Tools(sampler or self.pool, STOPS, 0, lambda prompt, ids: str(ids[-1] % 3))  # type: ignore[arg-type]
        return method.search(tasks, tools).outcomes


class OneEngine:
    """The pool's first engine alone."""

    def __init__(self, pool: RolloutPool):
        self._pool = pool

    def extend(self, requests: Sequence[Extension]) -> list[Continuation]:
        drawn: list[Continuation] = self._pool.call(0, VLLMEngine.extend, requests)
        return drawn


@pytest.fixture(scope="module")
def engines(tiny_model: Path, ray_session: None) -> Iterator[Engines]:
    forward, pool = ForwardPass(), RolloutPool(squeezed(num_actors=2), seed=0)
    plan, _ = forward.load(tiny_model, "float32", 256)
    pool.start(str(tiny_model), "float32", plan)
    pool.load_policy(forward.policy(), forward.put_weights)
    yield Engines(pool, forward, tiny_model, make_prompts(tiny_model))
    pool.close()
    forward.close()


@pytest.fixture(scope="module")
def power(engines: Engines) -> tuple[Outcome, ...]:
    return engines.search(POWER)


def as_groups(outcomes: Sequence[Outcome]) -> list[RolloutGroup]:
    return [
        RolloutGroup(o.task.prompt, (Rollout(o.task.prompt.id, i, o.path.token_ids, (), "", False),), None)  # type: ignore[arg-type]
        for i, o in enumerate(outcomes)
    ]


def log_distributions(engines: Engines, outcome: Outcome) -> torch.Tensor:
    """(tokens, vocabulary) float64, by plain transformers."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(engines.model_dir, dtype=torch.float32)
    prompt, completion = outcome.task.prompt.token_ids, outcome.path.token_ids
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion])).logits[0]
    return logits[len(prompt) - 1 : -1].double().log_softmax(-1)


def test_one_engine_and_two_give_the_same_chains(engines: Engines, power: tuple[Outcome, ...]) -> None:
    assert engines.search(POWER, OneEngine(engines.pool)) == power
    assert any(outcome.path.has_ended for outcome in power)
    assert any(outcome.effort.num_accepted < outcome.effort.num_proposals for outcome in power)


def test_every_logprob_read_from_the_engine_is_the_forward_pass_s(engines: Engines, power: tuple[Outcome, ...]) -> None:
    groups = as_groups(power)
    for temperature, read in (
        (POWER.tau, [outcome.path.proposal_logprobs for outcome in power]),
        (1.0, [outcome.path.policy_logprobs for outcome in power]),
    ):
        assert [rescored for (rescored,) in engines.forward.logprobs(groups, temperature)] == read


def test_the_log_normaliser_identity_holds(engines: Engines, power: tuple[Outcome, ...]) -> None:
    assert all(outcome.normaliser_gap < 1e-4 for outcome in power)  # type: ignore[attr-defined]
    one, other = power[:2]
    normalisers = [float((POWER.alpha * log_distributions(engines, o)).logsumexp(-1).sum()) for o in (one, other)]
    ratio = acceptance_log_ratio(one.path, other.path, 0, POWER.alpha)
    assert ratio == pytest.approx(normalisers[1] - normalisers[0], abs=1e-3)


def test_plain_samples_are_the_rollouts_of_the_pool_drawn_at_once_or_in_blocks(engines: Engines) -> None:
    sampling = SamplingParams(temperature=0.7, max_new_tokens=20, stop_token_ids=STOPS)
    groups = engines.pool.generate(engines.prompts, sampling, 2)
    rollouts = [(r.token_ids, r.rollout_logprobs) for group in groups for r in group.rollouts]
    plain = engines.search(PLAIN)
    assert [(o.path.token_ids, o.path.proposal_logprobs) for o in plain] == rollouts
    # No window is full, so that every trace is whole; the third of a task is drawn 3 tokens at a time.
    online = DeepConfOnline(
        num_candidates=3, num_warmup=2, keep_percent=100, consensus=1.0, window_tokens=100, block_tokens=3,
        temperature=0.7, max_new_tokens=20,
    )  # fmt: skip
    offline = DeepConf(num_candidates=3, window_tokens=100, temperature=0.7, max_new_tokens=20)
    whole = [outcome.candidates for outcome in engines.search(offline)]  # type: ignore[attr-defined]
    pieces = [outcome.candidates for outcome in engines.search(online)]  # type: ignore[attr-defined]
    assert all(all(one == other for one, other in zip(a, b, strict=False)) for a, b in zip(whole, pieces, strict=True))
    assert [path.token_ids for path in whole[0][:2]] == [tokens for tokens, _ in rollouts[:2]]
    assert {len(paths) for paths in pieces} == {2, 3}


def test_the_confidence_is_that_of_the_20_likeliest_tokens(engines: Engines) -> None:
    method = DeepConf(num_candidates=1, temperature=0.7, max_new_tokens=20)
    outcome = engines.search(method)[0]
    expected = -log_distributions(engines, outcome).topk(20).values.mean(-1)
    assert list(outcome.path.confidences) == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_request_that_asks_for_no_scores_gets_the_same_tokens_in_a_mixed_batch(engines: Engines) -> None:
    sampling = SamplingParams(temperature=0.7, max_new_tokens=6, stop_token_ids=STOPS)
    asked = [None, Scoring(), Scoring(num_top=3), None]
    requests = [
        Extension(prompt, (5, 6), sampling, DrawKey(0, prompt.id, 0), scoring=scoring)
        for prompt in engines.prompts
        for scoring in asked
    ]
    drawn = engines.pool.extend(requests)
    for prompt in range(len(engines.prompts)):
        none, scored, confident, again = drawn[4 * prompt : 4 * prompt + 4]
        assert none == again and none.policy_logprobs == none.confidences == scored.confidences == ()
        assert {(c.token_ids, c.proposal_logprobs) for c in (none, scored, confident)} == {
            (none.token_ids, none.proposal_logprobs)
        }
        assert scored.policy_logprobs == confident.policy_logprobs
        assert len(scored.policy_logprobs) == len(confident.confidences) == len(none.token_ids)


def test_particles_do_not_depend_on_the_engine(engines: Engines) -> None:
    method = PowerSMC(alpha=3.0, num_particles=4, block_tokens=6, max_new_tokens=12, min_effective=1.0)
    outcomes = engines.search(method)
    assert outcomes == engines.search(method, OneEngine(engines.pool))
    assert any(outcome.num_resamplings for outcome in outcomes)  # type: ignore[attr-defined]
