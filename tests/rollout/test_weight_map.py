from typing import ClassVar

import pytest
import torch
from torch import nn

from rollout.weight_map import WeightMap

VOCABULARY, PADDED, HIDDEN = 10, 16, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv_proj = nn.Linear(HIDDEN, 8)  # q: 4 rows, k: 2, v: 2
        self.gate_up_proj = nn.Linear(HIDDEN, 12, bias=False)
        self.o_proj = nn.Linear(HIDDEN, HIDDEN, bias=False)


class Engine(nn.Module):
    packed_modules_mapping: ClassVar = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(PADDED, HIDDEN)
        self.layers = nn.ModuleList(Block() for _ in range(2))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(-1)


def trainer_weights(num_layers=2):
    shapes = {"embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(num_layers):
        for part, rows in {"q_proj": 4, "k_proj": 2, "v_proj": 2}.items():
            shapes[f"layers.{layer}.{part}.weight"] = (rows, HIDDEN)
            shapes[f"layers.{layer}.{part}.bias"] = (rows,)
        # Of different heights, so that an offset of the wrong part shows.
        shapes[f"layers.{layer}.gate_proj.weight"] = (5, HIDDEN)
        shapes[f"layers.{layer}.up_proj.weight"] = (7, HIDDEN)
        shapes[f"layers.{layer}.o_proj.weight"] = (HIDDEN, HIDDEN)
    return {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(shapes.items())}


def test_every_tensor_has_the_trainers_name_and_shape():
    weights = trainer_weights()
    tensors = WeightMap(Engine(), weights).tensors
    assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in weights.items()}


def test_writing_through_the_map_lands_in_the_merged_rows_of_the_engine():
    engine, weights = Engine(), trainer_weights()
    for name, tensor in WeightMap(engine, weights).tensors.items():
        tensor.copy_(weights[name])
    for layer, block in enumerate(engine.layers):
        first = {name.removeprefix(f"layers.{layer}."): t.flatten()[0].item() for name, t in weights.items()}
        q, k, v = (first[f"{part}_proj.weight"] for part in "qkv")
        assert block.qkv_proj.weight[:, 0].tolist() == [q] * 4 + [k] * 2 + [v] * 2
        q, k, v = (first[f"{part}_proj.bias"] for part in "qkv")
        assert block.qkv_proj.bias.tolist() == [q] * 4 + [k] * 2 + [v] * 2
        gate, up = first["gate_proj.weight"], first["up_proj.weight"]
        assert block.gate_up_proj.weight[:, 3].tolist() == [gate] * 5 + [up] * 7
        assert block.o_proj.weight[0, 0].item() == first["o_proj.weight"]


def test_rows_that_only_pad_the_vocabulary_are_left_alone():
    engine, weights = Engine(), trainer_weights()
    WeightMap(engine, weights).tensors["embed_tokens.weight"].fill_(9)
    assert engine.embed_tokens.weight[:, 0].tolist() == [9] * VOCABULARY + [-1] * (PADDED - VOCABULARY)


def test_the_map_follows_later_writes_of_the_engine():
    engine = Engine()
    tensors = WeightMap(engine, trainer_weights()).tensors
    with torch.no_grad():
        engine.layers[1].qkv_proj.weight[4] = 5
    assert tensors["layers.1.k_proj.weight"][0].tolist() == [5] * HIDDEN


def test_a_name_without_a_home_is_named():
    weights = trainer_weights() | {"layers.0.rotary.weight": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"no parameter for layers\.0\.rotary\.weight"):
        WeightMap(Engine(), weights)


def test_a_merged_name_of_a_layer_that_the_engine_lacks_is_named():
    with pytest.raises(ValueError, match=r"no parameter for layers\.2\.q_proj\.weight"):
        WeightMap(Engine(), trainer_weights(num_layers=3))


def test_parameters_that_no_name_covers_are_named():
    weights = trainer_weights()
    del weights["layers.1.o_proj.weight"], weights["embed_tokens.weight"]
    with pytest.raises(ValueError, match=r"no weights for embed_tokens\.weight, layers\.1\.o_proj\.weight of"):
        WeightMap(Engine(), weights)


def test_a_model_that_merges_nothing_needs_no_mapping():
    model = nn.Linear(2, 3)
    tensors = WeightMap(model, {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}).tensors
    tensors["bias"].fill_(4)
    assert model.bias.tolist() == [4, 4, 4]


def test_a_missing_part_of_a_merged_parameter_is_named():
    class Merged(nn.Module):
        packed_modules_mapping: ClassVar = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}

        def __init__(self):
            super().__init__()
            self.attn = nn.Module()
            self.attn.qkv_proj = nn.Linear(4, 12, bias=False)

    parts = {f"attn.{name}_proj.weight": torch.zeros(4, 4) for name in "qkv"}
    assert set(WeightMap(Merged(), parts).tensors) == set(parts)
    for name in parts:
        rest = {other: tensor for other, tensor in parts.items() if other != name}
        with pytest.raises(ValueError, match="qkv_proj|q_proj|k_proj"):
            WeightMap(Merged(), rest)


def test_a_tensor_that_does_not_fit_its_place_is_named():
    with pytest.raises(ValueError, match=r"has shape \(20, 4\)"):
        WeightMap(nn.Linear(4, 16, bias=False), {"weight": torch.zeros(20, 4)})
