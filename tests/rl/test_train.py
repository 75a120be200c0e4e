"""Whole runs of `zerokl` on the tiny model, as a user starts them."""

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .commands import CONFIG, final_hash, ledger, refusal, zerokl

pytestmark = pytest.mark.engine


def test_a_run_leaves_what_it_promises(done: subprocess.CompletedProcess[str], workplace: Path) -> None:
    run = workplace / "run"
    value = final_hash(done)
    records = ledger(run)
    assert [record["step"] for record in records] == [1, 2, 3]
    assert records[-1]["hash"] == value
    for name in ("config.yaml", "metrics.jsonl", "model/config.json", "model/tokenizer.json"):
        assert (run / name).is_file(), name
    assert (run / "checkpoints" / "step_000003" / "checkpoint.json").is_file()
    assert len((run / "rollouts" / "step_000002.jsonl").read_text().splitlines()) == 16


def test_the_chain_can_be_recomputed_with_nothing_but_json_and_sha256(done, workplace: Path) -> None:
    final_hash(done)
    prev = "0" * 64
    for record in ledger(workplace / "run"):
        body = {key: value for key, value in record.items() if key != "hash"}
        assert body["prev"] == prev
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256(text.encode()).hexdigest()
        assert record["hash"] == prev
        assert record["num_mismatched"] == 0 and record["num_tokens"] > 0


def test_the_policy_changed_at_every_step(done, workplace: Path) -> None:
    final_hash(done)
    records = ledger(workplace / "run")
    assert len({record["weights"] for record in records}) == 3
    assert [record["policy"] for record in records[1:]] == [record["weights"] for record in records[:-1]]
    assert all(record["grad_norm_bits"] != "0x00000000" for record in records)


def test_rollout_and_trainer_logprobs_are_written_with_equal_bits(done, workplace: Path) -> None:
    final_hash(done)
    lines = (workplace / "run" / "rollouts" / "step_000003.jsonl").read_text().splitlines()
    for rollout in map(json.loads, lines):
        assert rollout["rollout_logprobs"] == rollout["trainer_logprobs"]
        assert len(rollout["rollout_logprobs"]) == len(rollout["token_ids"])
        for value in map(float.fromhex, rollout["rollout_logprobs"]):
            assert struct.unpack("<f", struct.pack("<f", value))[0] == value <= 0


def test_logprobs_are_those_of_a_plain_hugging_face_forward(done, workplace: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    final_hash(done)
    model_dir = next((workplace / "models").glob("tiny-llama-*"))
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    lines = (workplace / "run" / "rollouts" / "step_000001.jsonl").read_text().splitlines()
    for rollout in map(json.loads, lines[:4]):
        prompt, tokens = rollout["prompt_token_ids"], rollout["token_ids"]
        logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
        sampled = torch.tensor([float.fromhex(x) for x in rollout["rollout_logprobs"]])
        assert torch.allclose(sampled, expected, atol=0.1 if "bfloat16" in str(model.dtype) else 2e-2)


def test_the_same_config_gives_the_same_hash_whatever_runs_it(done, workplace: Path) -> None:
    other = zerokl(
        "train", CONFIG, "run.dir=other", "rollout.num_actors=2", "rollout.max_num_seqs=3",
        "rollout.max_num_batched_tokens=64", "rollout.prefix_caching=false", "checkpoint.every=2",
        "trainer.world_size=2", "trainer.zero_stage=3", cwd=workplace,
    )  # fmt: skip
    assert final_hash(other) == final_hash(done)


def test_stock_rollouts_are_measured_and_called_off_policy(done, workplace: Path) -> None:
    stock = zerokl("train", CONFIG, "run.dir=stock", "rollout.exact=false", "steps=1", cwd=workplace)
    assert final_hash(stock) != ledger(workplace / "run")[0]["hash"]
    (record,) = ledger(workplace / "stock")
    assert record["off_policy"] == "rollouts by stock vLLM" and "OFF-POLICY" in stock.stderr
    assert record["contract"] != ledger(workplace / "run")[0]["contract"]
    rollouts = map(json.loads, (workplace / "stock" / "rollouts" / "step_000001.jsonl").read_text().splitlines())
    pairs = [p for r in rollouts for p in zip(r["rollout_logprobs"], r["trainer_logprobs"], strict=True)]
    assert len(pairs) == record["num_tokens"] > 0
    assert record["num_mismatched"] == sum(a != b for a, b in pairs)  # none, perhaps: so small a model may agree


def test_memory_is_said_before_anything_is_taken(done) -> None:
    final_hash(done)
    assert done.stderr.index("memory  at most") < done.stderr.index("starting Ray")


@pytest.mark.thorough
def test_another_seed_gives_another_hash(done, workplace: Path) -> None:
    other = zerokl("train", CONFIG, "run.dir=seed", "seed=1", "steps=1", cwd=workplace)
    assert final_hash(other) != ledger(workplace / "run")[0]["hash"]


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """`zerokl *arguments`, running in a process group of its own, as a terminal's foreground job does."""
    command = [sys.executable, "-m", "rl", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def test_a_stopped_run_goes_on_to_the_same_hash_even_if_its_newest_checkpoint_is_lost(done, workplace: Path) -> None:
    run = workplace / "stopped"
    training = start("train", str(CONFIG), "run.dir=stopped", cwd=workplace)
    while not (run / "ledger.jsonl").exists() or len(ledger(run)) < 2:
        assert training.poll() is None
        time.sleep(0.005)
    os.killpg(training.pid, signal.SIGINT)  # as Ctrl-C does: Ray's processes get it too
    out, err = training.communicate(timeout=240)
    assert training.returncode == 0, err
    assert "stopping after this step; press Ctrl-C again to leave at once" in err
    step = len(ledger(run))
    stopped = f"stopped after step {step} of 3; go on with: zerokl resume stopped\n"
    assert out == stopped and not (run / "model").exists()

    starting = start("resume", "stopped", cwd=workplace)
    assert starting.stderr is not None
    assert any("starting Ray" in line for line in starting.stderr)
    starting.terminate()
    out, err = starting.communicate(timeout=240)
    assert (starting.returncode, out) == (0, stopped), err

    state = run / "checkpoints" / f"step_{step:06d}" / "trainer.safetensors"
    os.truncate(state, state.stat().st_size - 1)
    resumed = zerokl("resume", "stopped", cwd=workplace)
    assert f"checkpoint step_{step:06d} is corrupt: {state.relative_to(workplace)} has " in resumed.stderr
    assert final_hash(resumed) == final_hash(done)


@pytest.mark.thorough
def test_a_finished_run_resumes_to_its_own_hash(done, workplace: Path) -> None:
    assert final_hash(zerokl("resume", "run", cwd=workplace)) == final_hash(done)


def test_a_finished_run_is_not_overwritten(done, workplace: Path) -> None:
    final_hash(done)
    assert "zerokl resume" in refusal("train", CONFIG, "run.dir=run", cwd=workplace)


def test_the_model_loads_in_stock_vllm(done, workplace: Path) -> None:
    final_hash(done)
    script = (
        "from vllm import LLM, SamplingParams\n"
        "llm = LLM('run/model', enforce_eager=True, max_model_len=128, kv_cache_memory_bytes=2**26)\n"
        "print(len(llm.generate(['1 + 1 ='], SamplingParams(max_tokens=4, ignore_eos=True))[0].outputs[0].token_ids))\n"
    )
    stock = subprocess.run(
        [sys.executable, "-c", script], cwd=workplace, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert stock.stdout.splitlines()[-1] == "4", stock.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rollout.group_sizes=4"], "did you mean"),
        (["rollout.top_p=0.9"], "renormalised"),
        (["trainer.num_shards=3"], "power of two"),
        (["trainer.world_size=3"], "it could be 1 or 2 or 4"),
        (["model.path=nowhere"], "neither a folder nor"),
        (["data.task=chain_sums"], "chain_sum"),
        (["rollout.max_model_len=4096"], "2048 positions"),
        (["algorithm.params.clips=1"], "did you mean clip"),
    ],
)
def test_bad_input_ends_with_status_2_and_says_why(workplace: Path, overrides: list[str], message: str) -> None:
    assert message in refusal("train", CONFIG, *overrides, cwd=workplace)


@pytest.mark.thorough
def test_a_reward_function_that_raises_ends_the_run_with_its_name(workplace: Path) -> None:
    (workplace / "my_rewards.py").write_text("def broken(prompts, completions, **_):\n    raise KeyError('oops')\n")
    override = "reward.functions=[{name: 'my_rewards:broken'}]"
    refused = zerokl("train", CONFIG, "run.dir=broken", override, cwd=workplace)
    assert refused.returncode == 2, refused.stderr
    assert "my_rewards:broken" in refused.stderr and "oops" in refused.stderr
