"""The two checkpoints of the known-truth task: a policy with weights written by hand, and a reader that is blind.

The policy is a Llama of one layer. An embedding says which two tokens may follow; attention, whose queries are zero and
which so attends to all tokens alike, carries the name's two error rates and the number of careless steps to the place
that predicts; the output matrix reads them. The reader is a random Llama in whose embedding all names are the same, so
that what a name hides stays hidden: a reward model on it can learn how rates are spread, and what the steps so far say.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rl.prm.known.task import ASK, NUM_STEPS, STOP_TOKEN, Vocabulary, known_tokenizer

_HIDDEN, _HEAD = 64, 32
_END = NUM_STEPS + 1
"""Dimensions 0 to NUM_STEPS say at which stage the next token is, this one that the stop token comes."""
_RATE, _RISK, _MARK, _REST = 16, 17, 18, 19
"""Of a name: how careless its steps are, how risky its answer, and the rest; of a careless step: that it is one."""
_HEARD = {_RATE: 24, _RISK: 25, _MARK: 26}
"""Where attention puts what it has gathered."""
_ALLOWED = 8.0
"""Weight of a stage on its tokens: what may not follow has a probability below 1e-20."""
_PROMPT_TOKENS = 3
_MARK_SIZE = 0.25
_CARELESS = {"bias": -0.9, "rate": 2.5}
_WRONG = {"bias": -1.5, "risk": 2.5, "marks": 0.9}
"""Logits of careless against careful and of wrong against right: at a middling name, for a unit of the name's own, for
every careless step."""


def write_policy(folder: Path, seed: int) -> None:
    """Writes the checkpoint and its tokenizer. The seed decides what the names' rates are."""
    import torch

    vocabulary, tokenizer = Vocabulary(), known_tokenizer()
    model = _llama(tokenizer, num_layers=1)
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    for name in state:
        if name.endswith("norm.weight"):
            state[name] += 1
    _write_embedding(state["model.embed_tokens.weight"], vocabulary, seed)
    _write_attention(state)
    _write_output(state["lm_head.weight"], vocabulary)
    model.load_state_dict(state)
    _save(model, tokenizer, folder)


def write_reader(folder: Path, seed: int) -> None:
    """Writes the checkpoint and its tokenizer. The seed decides the weights."""
    import torch

    tokenizer, names = known_tokenizer(), Vocabulary().names
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = _llama(tokenizer, num_layers=2)
        embedding = model.get_input_embeddings().weight
        embedding[names.start : names.stop] = embedding[names.start].clone()
        _save(model, tokenizer, folder)


def _llama(tokenizer: Any, num_layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=_HIDDEN,
        intermediate_size=2 * _HIDDEN,
        num_hidden_layers=num_layers,
        num_attention_heads=_HIDDEN // _HEAD,
        num_key_value_heads=_HIDDEN // _HEAD,
        head_dim=_HEAD,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).float()


def _write_embedding(weight: Any, vocabulary: Vocabulary, seed: int) -> None:
    import torch

    rates = np.random.default_rng(seed).uniform(-1, 1, (len(vocabulary.names), 2))
    names = slice(vocabulary.names.start, vocabulary.names.stop)
    weight[names, _RATE] = torch.from_numpy(rates[:, 0]).float()
    weight[names, _RISK] = torch.from_numpy(rates[:, 1]).float()
    weight[names, _REST] = 1
    weight[vocabulary.id(ASK), 0] = 1
    for stage in range(NUM_STEPS + 1):
        for token in vocabulary.followers(stage):
            weight[token, stage + 1] = 1
    for stage in range(NUM_STEPS):
        weight[vocabulary.followers(stage)[1], _MARK] = _MARK_SIZE


def _write_attention(state: dict[str, Any]) -> None:
    """Values pass three dimensions on, brought back from the norm's scale, on which a row has the length √hidden."""
    value = state["model.layers.0.self_attn.v_proj.weight"]
    output = state["model.layers.0.self_attn.o_proj.weight"]
    for place, (dimension, heard) in enumerate(_HEARD.items()):
        value[place, dimension] = 1
        output[heard, place] = _HIDDEN**-0.5


def _write_output(weight: Any, vocabulary: Vocabulary) -> None:
    """The final norm scales by about √hidden; a mean over n tokens is multiplied by n to be the sum again."""
    unit = _HIDDEN**-0.5
    weight[vocabulary.id(STOP_TOKEN), _END] = _ALLOWED
    for stage in range(NUM_STEPS + 1):
        good, bad = vocabulary.followers(stage)
        weight[good, stage] = weight[bad, stage] = _ALLOWED
        sum_of_means = unit * (_PROMPT_TOKENS + stage)
        if stage < NUM_STEPS:
            weight[bad, stage] += unit * _CARELESS["bias"]
            weight[bad, _HEARD[_RATE]] = sum_of_means * _CARELESS["rate"]
        else:
            weight[bad, stage] += unit * _WRONG["bias"]
            weight[bad, _HEARD[_RISK]] = sum_of_means * _WRONG["risk"]
            weight[bad, _HEARD[_MARK]] = sum_of_means * _WRONG["marks"] / _MARK_SIZE


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


KNOWN_MODELS = {"policy": write_policy, "reader": write_reader}
"""What writes the checkpoint of `known:policy` and `known:reader`, by folder and seed."""
