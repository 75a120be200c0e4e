from pathlib import Path

import pytest

from rl import memory
from rl.config import CheckpointConfig, Config, ModelConfig
from rl.doctor import Verdict, resources
from rl.doctor.configuration import check_named, inputs_finding, read_config, tracker_finding
from rl.doctor.machine import Memory
from rl.doctor.resources import checkpoint_bytes, disk_finding, memory_finding, weight_sync_finding
from rl.doctor.sizes import GIB
from rl.memory import MemoryEstimate, Part, ProcessMemory
from rl.models import resolve_model


def config_file(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


def test_a_config_that_can_be_run_is_handed_on(tmp_path: Path) -> None:
    path = config_file(tmp_path, "model: {path: tiny:llama}\nseed: 3\n")
    config, findings = read_config(path)
    assert config is not None and config.seed == 3
    assert [finding.verdict for finding in findings] == [Verdict.OK]


def test_every_problem_of_a_config_is_a_finding(tmp_path: Path) -> None:
    path = config_file(tmp_path, "model: {path: m}\nsteps: 0\ntrainer: {zero_stage: 4, dtype: float16}\n")
    config, findings = read_config(path)
    assert config is None
    assert {finding.verdict for finding in findings} == {Verdict.MEND}
    assert [finding.found.partition(" ")[0] for finding in findings] == ["trainer.dtype", "steps", "trainer.zero_stage"]
    assert findings[2].remedy.startswith("all give the same bits")
    assert findings[1].remedy == f"edit {path}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model: {path: m}\nstep: 1\n", "there is no key step"),
        ("model: {path: m\n", "not YAML: while parsing a flow mapping in"),
    ],
)
def test_a_file_that_is_no_config_is_one_finding(text: str, found: str, tmp_path: Path) -> None:
    config, findings = read_config(config_file(tmp_path, text))
    assert config is None
    assert len(findings) == 1
    assert found in findings[0].found and findings[0].verdict is Verdict.MEND


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    config, (finding,) = read_config(tmp_path / "none.yaml")
    assert config is None
    assert str(tmp_path / "none.yaml") in finding.found and finding.remedy == "configs/ has some to start from"


@pytest.fixture
def config() -> Config:
    return Config(model=ModelConfig("tiny:llama"))


def test_algorithm_and_rewards_that_exist_are_well(config: Config) -> None:
    assert [(f.subject, f.verdict) for f in check_named(config)] == [
        ("algorithm", Verdict.OK),
        ("rewards", Verdict.OK),
    ]


def test_an_unknown_algorithm_and_an_unknown_reward_are_both_found(config: Config) -> None:
    config.algorithm.name = "grop"
    config.reward.functions[0].name = "reasoning_gim"
    algorithm, rewards = check_named(config)
    assert algorithm.verdict is rewards.verdict is Verdict.MEND
    assert "grop" in algorithm.found and "grpo" in algorithm.remedy
    assert "reasoning_gim" in rewards.found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model("tiny:llama", tmp_path_factory.mktemp("models"), seed=0)


def test_the_data_is_made_with_the_models_tokenizer(config: Config, tiny: Path) -> None:
    config.data.num_held_out = config.evaluation.num_prompts = 4
    finding = inputs_finding(config, str(tiny))
    assert finding.verdict is Verdict.OK
    assert finding.found.startswith("chain_sum; 4 questions held out, of at most ")


def test_a_task_that_does_not_exist_is_found(config: Config, tiny: Path) -> None:
    config.data.task = "chain_sun"
    finding = inputs_finding(config, str(tiny))
    assert finding.verdict is Verdict.MEND
    assert "chain_sun" in finding.found


def test_prompts_that_leave_no_room_are_found(config: Config, tiny: Path) -> None:
    config.data.num_held_out = config.evaluation.num_prompts = 4
    config.rollout.max_model_len = config.rollout.max_new_tokens + 3
    finding = inputs_finding(config, str(tiny))
    assert finding.verdict is Verdict.MEND
    assert "rollout.max_model_len" in finding.found


def test_a_cache_that_holds_no_sequence_is_found(config: Config, tiny: Path) -> None:
    config.rollout.kv_cache_gib = 1e-6
    finding = inputs_finding(config, str(tiny))
    assert (finding.subject, finding.verdict) == ("inputs", Verdict.MEND)
    assert finding.remedy.startswith("set rollout.kv_cache_gib to ")


@pytest.mark.parametrize(
    ("tracker", "environ", "verdict", "found"),
    [
        ("none", {}, Verdict.OK, "none"),
        ("wandb", {}, Verdict.WARN, "nobody is logged in"),
        ("wandb", {"WANDB_API_KEY": "k"}, Verdict.OK, "somebody is logged in"),
        ("wandb", {"WANDB_MODE": "offline"}, Verdict.OK, "WANDB_MODE=offline"),
    ],
)
def test_the_trackers_login_is_told(
    tracker: str, environ: dict[str, str], verdict: Verdict, found: str, tmp_path: Path
) -> None:
    finding = tracker_finding(tracker, {"HOME": str(tmp_path), **environ})
    assert finding.verdict is verdict
    assert found in finding.found


NEEDED = MemoryEstimate((ProcessMemory("engine", 2, (Part("weights", GIB), Part("KV cache", 4 * GIB, "rollout.x"))),))


@pytest.mark.parametrize(
    ("memory", "verdict"),
    [
        (Memory(total=20 * GIB, available=10 * GIB), Verdict.OK),
        (Memory(total=20 * GIB, available=10 * GIB - 1), Verdict.WARN),
        (Memory(total=10 * GIB - 1, available=10 * GIB - 1), Verdict.MEND),
    ],
)
def test_memory_is_held_against_what_is_there(memory: Memory, verdict: Verdict) -> None:
    finding = memory_finding(NEEDED, memory)
    assert finding.verdict is verdict
    assert finding.found.startswith("at most 10.0 GiB (2 x engine 5.0 GiB)")
    assert verdict is Verdict.OK or "lower rollout.x" in finding.remedy


def test_weights_have_to_fit_the_object_store() -> None:
    assert weight_sync_finding(GIB, 2 * GIB).verdict is Verdict.OK
    assert weight_sync_finding(2 * GIB, 2 * GIB).verdict is Verdict.MEND


def test_checkpoints_take_three_copies_in_fp32_and_one_more_is_being_written(config: Config) -> None:
    config.checkpoint = CheckpointConfig(keep=2)
    assert checkpoint_bytes(config, 1000) == 3 * 3 * 4 * 1000


def test_the_disk_is_that_of_the_first_folder_that_exists(tmp_path: Path) -> None:
    finding = disk_finding(tmp_path / "runs" / "demo", 1)
    assert finding.verdict is Verdict.OK
    assert finding.found.endswith(f"free at {tmp_path}")
    assert disk_finding(tmp_path, 10**18).verdict is Verdict.MEND


def test_resources_are_those_of_the_dtype_that_is_asked_for(
    config: Config, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rl.doctor.model import read_model

    model, _ = read_model(str(tiny), seed=0)
    assert model is not None
    asked = []

    def estimate(config: Config, model_config: object) -> MemoryEstimate:
        asked.append(config.trainer.dtype)
        return memory.estimate_memory(config, model_config)

    monkeypatch.setattr(resources, "estimate_memory", estimate)
    config.run.dir = str(tmp_path)
    findings = {finding.subject: finding for finding in resources.check_resources(config, model, "bfloat16")}
    assert asked == ["bfloat16"] and config.trainer.dtype == "auto"
    assert list(findings) == ["memory needed", "weight sync", "disk"]
    # 106,816 parameters of two bytes, three checkpoints of twelve
    assert findings["disk"].found.startswith("4 MiB for checkpoints")
