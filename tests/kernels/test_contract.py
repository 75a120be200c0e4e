import dataclasses
import importlib.metadata
import re

import pytest
import torch

from kernels.contract import OP_VERSIONS, Contract, build_contract
from kernels.cpu_library import vector_isa
from kernels.linear import LinearPlan
from kernels.logprobs import LogitTransform

OTHER_VALUES = {
    "linear": LinearPlan("aten", 32),
    "attention_isa": "amx",
    "attention_block_size": 64,
    "attention_splits_kv": True,
    "attention_tiles_queries": False,
    "l2_bytes": 2**21,
    "logits": LogitTransform(soft_cap=30.0),
    "recurrence": 4,
    "dtype": "bfloat16",
    "device": "cuda",
    "vector_isa": "avx512",
    "versions": (("torch", "2.13.1"),),
    "ops": (("attention", 2),),
}


def contract(**changes):
    values = {
        "linear": LinearPlan("onednn", 8),
        "attention_isa": "vec",
        "attention_block_size": 128,
        "attention_splits_kv": False,
        "attention_tiles_queries": True,
        "l2_bytes": 2**19,
        "logits": LogitTransform(),
        "recurrence": None,
        "dtype": "float32",
        "device": "cpu",
        "vector_isa": "avx2",
        "versions": (("torch", "2.13.0"),),
        "ops": (("attention", 1),),
    }
    return Contract(**(values | changes))


def test_equal_contracts_have_equal_digests_and_no_differences():
    assert contract().digest == contract().digest
    assert contract().differences(contract()) == []
    assert re.fullmatch("[0-9a-f]{64}", contract().digest)


def test_the_cases_here_cover_every_field():
    assert set(OTHER_VALUES) == {field.name for field in dataclasses.fields(Contract)}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_each_field_changes_the_digest_and_is_named_as_the_only_difference(name):
    other = contract(**{name: OTHER_VALUES[name]})
    assert other.digest != contract().digest
    (line,) = contract().differences(other)
    assert line.startswith(f"{name}: ")


def test_the_parts_of_the_linear_plan_change_the_digest():
    digests = {contract(linear=LinearPlan(op, rows)).digest for op in ("onednn", "aten") for rows in (1, 8)}
    assert len(digests) == 4


def test_differences_show_mine_and_theirs():
    assert contract().differences(contract(dtype="bfloat16", attention_splits_kv=True)) == [
        "attention_splits_kv: False != True",
        "dtype: float32 != bfloat16",
    ]


def test_a_contract_built_here_names_what_computes_on_this_machine():
    built = build_contract(LinearPlan("aten", 8), LogitTransform(), True, "vec", 128, False, 2, torch.bfloat16)
    assert (built.linear, built.attention_isa, built.attention_block_size) == (LinearPlan("aten", 8), "vec", 128)
    assert (built.attention_splits_kv, built.dtype, built.device) == (False, "bfloat16", "cpu")
    assert built.attention_tiles_queries and built.recurrence == 2
    assert built.l2_bytes >= 2**17
    assert built.vector_isa == vector_isa()
    versions = dict(built.versions)
    assert versions["torch"] == importlib.metadata.version("torch")
    assert versions["transformers"] == importlib.metadata.version("transformers")
    assert [name for name in versions if name.startswith("vllm")] != []
    assert dict(built.ops) == OP_VERSIONS
