"""The checkpoints of the known-truth task do what its documentation says."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rl.models import load_tokenizer, resolve_model
from rl.prm.known.places import known_tree
from rl.prm.known.task import NUM_STEPS, Vocabulary, known_prompts
from rl.prm.known.truth import exact_truth

NUM_NAMES = 60


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    cache = tmp_path_factory.mktemp("models")
    return {name: resolve_model(f"known:{name}", cache, seed=0) for name in ("policy", "reader")}


@pytest.fixture(scope="module")
def prompts(folders):
    return known_prompts(load_tokenizer(folders["policy"]), NUM_NAMES)


@pytest.fixture(scope="module")
def truth(folders, prompts):
    policy = AutoModelForCausalLM.from_pretrained(folders["policy"]).double()
    return exact_truth(prompts, known_tree(), lambda groups: [likelihoods(policy, group) for group in groups])


def likelihoods(policy, group):
    prompt = group.prompt.token_ids
    tokens = torch.tensor([[*prompt, *rollout.token_ids] for rollout in group.rollouts])
    with torch.no_grad():
        logprobs = policy(tokens).logits.log_softmax(-1)[:, len(prompt) - 1 : -1]
    return logprobs.gather(-1, tokens[:, len(prompt) :, None])[..., 0].tolist()


def test_the_policy_says_nothing_beyond_the_tree(truth):
    assert truth.missing < 1e-12


def test_no_prefix_is_lost_or_won_before_the_answer(truth):
    places = [place for place, prefix in enumerate(truth.tree.prefixes) if len(prefix) <= NUM_STEPS]
    chances = truth.success[:, places]
    assert chances.min() > 0.01 and chances.max() < 0.999


def test_names_differ_and_in_two_ways(truth):
    """How careless a first step is, and how risky an answer behind four careful ones, do not follow each other."""
    vocabulary = Vocabulary()
    careful = tuple(vocabulary.followers(stage)[0] for stage in range(NUM_STEPS))
    careless = truth.reach[:, truth.tree.place[(vocabulary.followers(0)[1],)]]
    risk = 1 - truth.success[:, truth.tree.place[careful]]
    assert careless.std() > 0.1 and risk.std() > 0.1
    assert abs(np.corrcoef(careless, risk)[0, 1]) < 0.5


def test_every_careless_step_makes_the_answer_riskier(truth):
    vocabulary = Vocabulary()

    def behind(num_careless):
        marks = [stage < num_careless for stage in range(NUM_STEPS)]
        return truth.success[:, truth.tree.place[tuple(vocabulary.followers(s)[mark] for s, mark in enumerate(marks))]]

    chances = np.stack([behind(count) for count in range(NUM_STEPS + 1)])
    assert (np.diff(chances, axis=0) < 0).all()


def test_another_seed_gives_other_rates_and_the_same_seed_the_same_bytes(folders, tmp_path):
    again = resolve_model("known:policy", tmp_path, seed=0)
    other = resolve_model("known:policy", tmp_path, seed=1)
    written = [(folder / "model.safetensors").read_bytes() for folder in (folders["policy"], again, other)]
    assert written[0] == written[1] != written[2]


def test_the_reader_cannot_tell_names_apart(folders, prompts):
    reader = AutoModelForCausalLM.from_pretrained(folders["reader"])
    with torch.no_grad():
        states = [reader.model(torch.tensor([asked.token_ids])).last_hidden_state for asked in prompts[:3]]
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_policy_and_reader_have_one_vocabulary(folders):
    vocabularies = [load_tokenizer(folder).get_vocab() for folder in folders.values()]
    assert vocabularies[0] == vocabularies[1]
