import shutil
from pathlib import Path

import pytest

from kernels.digest import weights_digest
from rl.checkpoint import STATE_FILE
from rl.contract.recorded import Contracts, RunContract, read_contracts
from rl.ledger import LedgerError, read_ledger
from rl.run_folder import RunFolder
from rl.verification.integrity import Model, Tampered, model_findings, require_intact
from rl.verification.weight_places import Parameter

from ..synthetic import PARAMETERS, edit_rollout, flip_bit, make_run, rehash, sign_again

MODEL = Model(PARAMETERS, "float32")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "run")


def look(run: RunFolder) -> None:
    require_intact(run, read_ledger(run.ledger_path), read_contracts(run.contract_path), MODEL)


def test_a_run_as_it_was_left_is_intact(run: RunFolder) -> None:
    look(run)


def test_rollouts_may_have_been_deleted_but_not_changed(run: RunFolder) -> None:
    run.rollouts_path(2).unlink()
    look(run)


def test_an_edited_line_of_the_ledger(run: RunFolder) -> None:
    run.ledger_path.write_text(run.ledger_path.read_text().replace('"num_tokens":10', '"num_tokens":11', 1))
    with pytest.raises(LedgerError, match="line 1: field `hash`"):
        look(run)


def test_a_deleted_line_of_the_ledger(run: RunFolder) -> None:
    lines = run.ledger_path.read_text().splitlines(keepends=True)
    run.ledger_path.write_text(lines[0] + lines[2])
    with pytest.raises(LedgerError, match="line 2: field `prev`"):
        look(run)


def test_the_last_lines_of_the_ledger_cut_off(run: RunFolder) -> None:
    lines = run.ledger_path.read_text().splitlines(keepends=True)
    run.ledger_path.write_text("".join(lines[:2]))
    with pytest.raises(Tampered, match="step_000003 is of step 3, and the ledger ends at step 2"):
        look(run)


def test_swapped_rollouts(run: RunFolder) -> None:
    run.rollouts_path(1).rename(run.rollouts_dir / "other")
    run.rollouts_path(2).rename(run.rollouts_path(1))
    (run.rollouts_dir / "other").rename(run.rollouts_path(2))
    with pytest.raises(Tampered) as caught:
        look(run)
    first, second = str(caught.value).splitlines()
    assert first.startswith("step 1, field prompts (and ") and second.startswith("step 2, field prompts (and ")
    assert "step_000001.jsonl" in first and "step_000002.jsonl" in second


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"reward": 0.9}, "rewards"),
        ({"token_ids": [2, 1, 6]}, "tokens"),
        ({"sample": 1}, None),
        ({"prompt_token_ids": [1, 2, 3]}, "prompts"),
        ({"rollout_logprobs": ["-0x1.0000000000000p-1", "-0x1.0000000000000p+0", "-0x1.0000020000000p-1"]}, "rollout"),
        ({"trainer_logprobs": ["-0x1.0000000000000p-1", "-0x1.0000000000000p+0", "-0x1.0000020000000p-1"]}, "trainer"),
    ],
)
def test_a_changed_rollout_is_named_with_its_step_and_field(run: RunFolder, values: dict, field: str | None) -> None:
    edit_rollout(run, 2, 2, **values)
    if field is None:
        look(run)  # what no digest covers is for the replay to find
        return
    with pytest.raises(Tampered, match=f"^step 2, field {field}") as caught:
        look(run)
    assert "step_000002.jsonl" in str(caught.value)


def test_rollouts_that_cannot_be_read(run: RunFolder) -> None:
    edit_rollout(run, 2, 0, rollout_logprobs=["half", "-0x1.0p+0", "-0x1.0p-1"])
    with pytest.raises(Tampered, match="step 2: .*step_000002.jsonl is not what was written"):
        look(run)


def test_a_flipped_bit_in_a_checkpoint(run: RunFolder) -> None:
    flip_bit(run.checkpoint_path(2) / STATE_FILE, "master", 3)
    with pytest.raises(Tampered, match="step_000002/trainer.safetensors does not hash"):
        look(run)


def test_a_flipped_bit_in_a_checkpoint_that_was_signed_again(run: RunFolder) -> None:
    flip_bit(run.checkpoint_path(2) / STATE_FILE, "master", 3)
    sign_again(run.checkpoint_path(2))
    with pytest.raises(Tampered, match="^step 2, field weights: .*step_000002/trainer.safetensors holds"):
        look(run)


def test_a_checkpoint_of_another_model(run: RunFolder) -> None:
    other = Model((Parameter("w", (2, 6)),), "float32")
    with pytest.raises(Tampered, match="has 10 weights, the model 12"):
        require_intact(run, read_ledger(run.ledger_path), None, other)


def test_a_checkpoint_of_another_run(run: RunFolder, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", parts={"seed": 1})
    shutil.rmtree(run.checkpoint_path(3))
    shutil.copytree(other.checkpoint_path(3), run.checkpoint_path(3))
    with pytest.raises(Tampered, match="step 3, field hash: .*step_000003/checkpoint.json says"):
        look(run)


def test_a_chain_computed_anew_does_not_fit_checkpoints_and_rollouts(run: RunFolder) -> None:
    rehash(run, 2, rewards="0" * 64)
    with pytest.raises(Tampered) as caught:
        look(run)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "step 2, field rewards",
        "step 2, field hash",
        "step 3, field hash",
    ]


def test_a_policy_that_is_not_what_the_step_before_ended_with(run: RunFolder) -> None:
    shutil.rmtree(run.checkpoints_dir)
    rehash(run, 2, policy="0" * 64)
    with pytest.raises(Tampered, match="^step 2, field policy:"):
        look(run)


def test_a_contract_that_is_not_in_contract_json(run: RunFolder) -> None:
    contracts = Contracts(RunContract({"seed": 1}))
    with pytest.raises(Tampered, match="^step 1, field contract: no contract in .*contract.json"):
        require_intact(run, read_ledger(run.ledger_path), contracts, MODEL)


def test_a_flipped_bit_in_the_final_model(run: RunFolder, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    digest = weights_digest({name: parameter.data for name, parameter in model.named_parameters()})
    shutil.copytree(tiny_model, run.model_dir)
    assert list(model_findings(run, [{"weights": digest}], "float32")) == []
    flip_bit(run.model_dir / "model.safetensors", "model.norm.weight", 5)
    (finding,) = model_findings(run, [{"weights": digest}], "float32")
    assert "with which no step of the ledger ended" in finding
