"""PRMs that others trained, as probabilities that the steps so far are good. Plain transformers, on a CPU or a GPU.

Sequences are padded to batches of like lengths; the last bits of a score may depend on its batch.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reward.prm.others.settings import OtherPRM
from reward.prm.scorer import Rows
from reward.prm.steps import StepInput, vocabulary_id

INDEX_FILE = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"


class OtherModel:
    """Loads what the settings name. Raises ValueError for a checkpoint of another shape."""

    def __init__(self, settings: OtherPRM):
        loads = _token_classifier if settings.kind == "token_classification" else _plus_minus
        self._settings = settings
        self._backbone, self._judge = loads(settings)

    @torch.no_grad()
    def read(self, inputs: Sequence[StepInput]) -> list[Rows]:
        """(places, 1) for each, in order."""
        found: dict[int, Rows] = {}
        for batch in batches_of_like_length([len(given.token_ids) for given in inputs], self._settings.max_tokens):
            for index, row in zip(batch, self._read([inputs[index] for index in batch]), strict=True):
                found[index] = row
        return [found[index] for index in range(len(inputs))]

    def _read(self, inputs: Sequence[StepInput]) -> Iterator[Rows]:
        device = self._settings.device
        lengths = torch.tensor([len(given.token_ids) for given in inputs])
        ids = nn.utils.rnn.pad_sequence([torch.tensor(given.token_ids) for given in inputs], batch_first=True)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        hidden = self._backbone(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)[0]
        for states, given in zip(hidden, inputs, strict=True):
            good = self._judge(states[torch.tensor(given.positions, device=states.device)]).float().cpu()
            yield tuple((score,) for score in good.tolist())


def batches_of_like_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices in batches of at most `max_tokens`, padding counted, where a length allows it; longest first."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _token_classifier(settings: OtherPRM) -> tuple[Any, Any]:
    """Backbone and head of a model with two labels a token: the softmax probability of the good one."""
    import transformers

    dtype = getattr(torch, settings.dtype)
    backbone: Any = transformers.AutoModel.from_pretrained(settings.model, dtype=dtype)
    head = _classification_head(Path(settings.model)).to(settings.device, dtype)
    return backbone.to(settings.device).eval(), lambda states: head(states).float().softmax(-1)[:, settings.good_label]


def _plus_minus(settings: OtherPRM) -> tuple[Any, Any]:
    """Decoder and head of a causal LM: the probability of the good token against the bad one."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(settings.model)
    pair = [vocabulary_id(tokenizer, token) for token in (settings.good, settings.bad)]
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(settings.model, dtype=getattr(torch, settings.dtype))
    model = model.to(settings.device).eval()
    output = model.get_output_embeddings()
    return model.get_decoder(), lambda states: output(states)[:, pair].float().softmax(-1)[:, 0]


def _classification_head(folder: Path) -> nn.Module:
    """`score` of the checkpoint: one linear layer, or two with a ReLU between them, as Qwen2.5-Math-PRM has it.

    Made from the weights, so that no code of the checkpoint's own is run.
    """
    found = _tensors(folder, "score.")
    if set(found) >= {"0.weight", "2.weight"}:
        head = nn.Sequential(_linear(found, "0."), nn.ReLU(), _linear(found, "2."))
        num_labels = len(found["2.weight"])
    elif "weight" in found:
        head, num_labels = nn.Sequential(_linear(found, "")), len(found["weight"])
    else:
        raise ValueError(f"{folder} has no classification head `score`, so it is no PRM of kind token_classification")
    if num_labels != 2:
        raise ValueError(f"the head of {folder} has {num_labels} labels; a PRM has two, for bad and good steps")
    return head.eval()


def _linear(found: dict[str, torch.Tensor], prefix: str) -> nn.Linear:
    weight, bias = found[f"{prefix}weight"], found.get(f"{prefix}bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({"bias": bias} if bias is not None else {}))
    return layer


def _tensors(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors whose names begin with `prefix`, without it; no others are read."""
    from safetensors import safe_open

    files = [WEIGHTS_FILE]
    if (folder / INDEX_FILE).is_file():
        files = sorted(set(json.loads((folder / INDEX_FILE).read_text())["weight_map"].values()))
    found: dict[str, torch.Tensor] = {}
    for file in files:
        with safe_open(folder / file, framework="pt") as opened:
            names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118, it is no mapping
            found |= {name.removeprefix(prefix): opened.get_tensor(name) for name in names}
    return found
