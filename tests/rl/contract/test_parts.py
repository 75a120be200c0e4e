"""The parts of a run's contract, read off the tiny config."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kernels.contract import Contract
from kernels.linear import LinearPlan
from kernels.logprobs import LogitTransform
from rl.algorithms import make_algorithm
from rl.config import load_config
from rl.contract.parts import computed_parts, declared_parts
from rl.contract.recorded import RunContract
from rl.inputs import read_inputs
from rollout.types import PolicyVersion

from ..commands import CONFIG
from ..tiny_prm import write_tiny_prm

Declared = Callable[..., RunContract]


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The contract that a config with some overrides declares, in a folder where its model is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        yield _declared


def _declared(*overrides: str, path: Path = CONFIG) -> RunContract:
    config = load_config(path, ["trainer.dtype=float32", *overrides])
    algorithm = make_algorithm(config.algorithm.name, config.algorithm.params)
    return RunContract(declared_parts(config, read_inputs(config), algorithm))


def test_a_contract_reads_the_same_twice_and_is_plain_json(declared: Declared) -> None:
    assert declared().changes(declared()) == []
    assert set(declared().parts) == {
        *("ops", "versions", "seed", "data", "sampling", "reward", "algorithm", "gradient", "optimizer", "model")
    }


def test_what_changes_no_bit_changes_no_part(declared: Declared, tmp_path: Path) -> None:
    free = (
        "rollout.num_actors=3", "rollout.max_num_seqs=3", "rollout.max_num_batched_tokens=64", "rollout.threads=1",
        "rollout.prefix_caching=false", "rollout.kv_cache_gib=0.5", "reward.num_workers=1", "reward.time_limit_s=5",
        "trainer.world_size=2", "trainer.zero_stage=2", "trainer.gradient_checkpointing=true", "trainer.threads=1",
        "trainer.timeout_s=60", "evaluation.num_prompts=4", "evaluation.every=1", "checkpoint.every=2",
        "checkpoint.keep=5", "tracker=wandb", "tracking.name=other", f"run.dir={tmp_path}", "steps=7",
    )  # fmt: skip
    assert declared().changes(declared(*free)) == []


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("seed=1", "seed: 0 -> 1"),
        ("data.params.max_digits=3", "data.sources.0.params.max_digits: 2 -> 3"),
        ("data.num_prompts=8", "data.num_prompts: 4 -> 8"),
        ("data.num_held_out=9", "data.num_held_out: 8 -> 9"),
        ("data.suffix= Think.", 'data.suffix: "" -> Think.'),
        ("rollout.group_size=2", "sampling.group_size: 4 -> 2"),
        ("rollout.temperature=0.5", "sampling.temperature: 1.0 -> 0.5"),
        ("rollout.exact=false", "sampling.exact: true -> false"),
        ("reward.functions.1.weight=0.2", "reward.functions.1.weight: 0.1 -> 0.2"),
        ("algorithm.params.clip=0.1", "algorithm.params.clip: 0.2 -> 0.1"),
        ("algorithm.name=rloo", "algorithm.name: grpo -> rloo"),
        ("trainer.num_shards=2", "gradient.num_shards: 4 -> 2"),
        ("trainer.micro_batch_tokens=512", "gradient.micro_batch_tokens: 4096 -> 512"),
        ("optimizer.learning_rate=1e-4", "optimizer.learning_rate: 0.001 -> 0.0001"),
        ("optimizer.max_grad_norm=0.5", "optimizer.max_grad_norm: 1.0 -> 0.5"),
    ],
)
def test_what_decides_bits_is_told_by_its_part(declared: Declared, override: str, part: str) -> None:
    assert part in declared().changes(declared(override))


def test_another_question_shows_in_what_is_asked_first(declared: Declared) -> None:
    changes = declared().changes(declared("data.suffix= Think."))
    assert any(change.startswith("data.first_prompts: ") for change in changes)


def test_the_number_of_steps_counts_where_the_schedule_looks_at_it(declared: Declared) -> None:
    linear = "optimizer.schedule=linear"
    assert declared(linear).changes(declared(linear, "steps=7")) == ["optimizer.steps: 3 -> 7"]


def test_the_code_of_a_reward_function_is_in_it(declared: Declared, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("part_rewards.py").write_text("def f(completions, **_):\n    return [1.0] * len(completions)\n")
    monkeypatch.syspath_prepend(Path.cwd())
    own = "reward.functions=[{name: 'part_rewards:f'}]"
    before = declared(own)
    Path("part_rewards.py").write_text("def f(completions, **_):\n    return [2.0] * len(completions)\n")
    (change,) = before.changes(declared(own))
    assert change.startswith("reward.functions.0.sources.part_rewards: ")


def test_process_rewards_are_in_it_with_their_model_and_their_code(
    declared: Declared, tiny_model: Path, tmp_path: Path
) -> None:
    one, two = write_tiny_prm(tmp_path / "one", tiny_model), write_tiny_prm(tmp_path / "two", tiny_model)
    before = declared(f"reward.process.prm={one}")
    assert {"reward.process", "rl.credit", "reward.prm.model"} <= set(before.parts["reward"]["process"]["sources"])
    assert "process" not in declared().parts["reward"]
    assert before.changes(declared(f"reward.process.prm={two}")) == []
    lower = declared(f"reward.process.prm={one}", "reward.process.level=0.1")
    assert before.changes(lower) == ["reward.process.level: 0.5 -> 0.1"]
    head = two / "prm_head.safetensors"
    head.write_bytes(head.read_bytes()[:-1] + b"!")
    (change,) = before.changes(declared(f"reward.process.prm={two}"))
    assert change.startswith("reward.process.prm.prm_head.safetensors: ")


def test_of_a_file_the_content_counts_and_not_the_folder(declared: Declared, tmp_path: Path) -> None:
    def with_file(place: str, last_answer: int) -> RunContract:
        folder = tmp_path / place
        folder.mkdir()
        rows = [{"prompt": f"{i} + 1", "answer": i + 1} for i in range(30)] + [{"prompt": "?", "answer": last_answer}]
        (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        values = yaml.safe_load(CONFIG.read_text())
        del values["data"]["task"], values["data"]["params"]
        values["data"]["sources"] = [{"jsonl": str(folder / "sums.jsonl")}]
        (folder / "config.yaml").write_text(yaml.safe_dump(values))
        return declared(path=folder / "config.yaml")

    one, two, three = with_file("one", 1), with_file("two", 1), with_file("three", 2)
    assert one.changes(two) == []
    (change,) = one.changes(three)
    assert change.startswith("data.questions: ")


def test_what_trainer_and_engines_compute_with_stands_under_compute() -> None:
    contract = Contract(
        LinearPlan("onednn", 8), "vec", 128, False, True, 2**19, LogitTransform(), None, "float32", "cpu", "avx2", ()
    )
    parts = computed_parts(contract, PolicyVersion(0, "d"))
    assert parts["weights"] == "d"
    assert set(parts["compute"]) == {f.name for f in dataclasses.fields(Contract)} - {"versions", "ops"}
    other = computed_parts(dataclasses.replace(contract, vector_isa="avx512"), PolicyVersion(0, "d"))
    assert RunContract(parts).changes(RunContract(other)) == ["compute.vector_isa: avx2 -> avx512"]
