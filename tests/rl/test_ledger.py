import dataclasses
import hashlib
import json
import math
import os
import struct
from pathlib import Path

import pytest

from rl.errors import UserError
from rl.ledger import (
    Ledger,
    LedgerError,
    chain,
    digest_logprobs,
    digest_prompts,
    digest_rewards,
    digest_tokens,
    float_bits,
    read_ledger,
)
from rl.types import StepRecord
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup


def record(step: int, loss_bits: str = "0x3f800000") -> StepRecord:
    digests = ("contract", "policy", "prompts", "tokens", "rollout_logprobs", "trainer_logprobs", "rewards", "gradient")
    values = {name: hashlib.sha256(f"{name}{step}".encode()).hexdigest() for name in (*digests, "weights")}
    return StepRecord(
        step=step, num_tokens=7, num_mismatched=0, loss_bits=loss_bits, grad_norm_bits="0x00000000", **values
    )


def written(path: Path, num_steps: int) -> Ledger:
    ledger = Ledger(path)
    for step in range(1, num_steps + 1):
        ledger.append(record(step))
    return ledger


def group(prompt_id: str, prompt_tokens: list[int], *completions: list[int]) -> RolloutGroup:
    rollouts = tuple(
        Rollout(prompt_id, sample, tuple(tokens), (0.0,) * len(tokens), "", False)
        for sample, tokens in enumerate(completions)
    )
    return RolloutGroup(Prompt(prompt_id, "", tuple(prompt_tokens), {}), rollouts, PolicyVersion(0, ""))


def test_the_chain_can_be_recomputed_with_json_and_hashlib_alone(tmp_path: Path) -> None:
    last_hash = written(tmp_path / "ledger.jsonl", 3).last_hash
    prev = "0" * 64
    for line in (tmp_path / "ledger.jsonl").read_text("utf-8").splitlines():
        values = json.loads(line)
        claimed = values.pop("hash")
        assert values["prev"] == prev
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256(text.encode("utf-8")).hexdigest()
        assert claimed == prev
    assert last_hash == prev


def test_a_line_is_one_object_with_sorted_keys_and_no_spaces(tmp_path: Path) -> None:
    written(tmp_path / "ledger.jsonl", 1)
    text = (tmp_path / "ledger.jsonl").read_text()
    assert text.endswith("}\n") and " " not in text
    keys = ["contract", "grad_norm_bits", "gradient", "hash", "loss_bits", "num_mismatched", "num_tokens", "policy"]
    keys += ["prev", "prompts", "rewards", "rollout_logprobs", "step", "tokens", "trainer_logprobs", "weights"]
    assert list(json.loads(text)) == keys


@pytest.mark.parametrize("field", ["off_policy", "contract_change"])
def test_what_there_is_nothing_to_say_of_is_left_out_and_what_there_is_is_hashed(tmp_path: Path, field: str) -> None:
    plain, said = (chain(dataclasses.replace(record(1), **{field: text}), "0" * 64) for text in ("", "seed: 0 -> 1"))
    assert field not in plain and said[field] == "seed: 0 -> 1" and said["hash"] != plain["hash"]
    (tmp_path / "ledger.jsonl").write_text(json.dumps(said) + "\n")
    assert read_ledger(tmp_path / "ledger.jsonl") == [said]


def test_append_returns_the_hash_and_an_opened_ledger_goes_on_from_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path).append(record(1))
    again = Ledger(path)
    assert again.last_hash == first == chain(record(1), "0" * 64)["hash"]
    assert again.append(record(2)) == chain(record(2), first)["hash"]
    assert [line["step"] for line in again.records()] == [1, 2]


def test_a_new_ledger_starts_at_64_zeros(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "ledger.jsonl").last_hash == "0" * 64
    assert Ledger(tmp_path / "ledger.jsonl").records() == []


def edit(path: Path, line: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_text("".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"num_tokens":7', '"num_tokens":8', "line 2: field `hash`"),
        ('"num_tokens":7', '"num_tokens":"7"', "line 2: field `num_tokens` must be"),
        ('"num_mismatched":0', '"num_mismatched":false', "line 2: field `num_mismatched` must be"),
        ('"num_tokens":7,', "", "line 2: field `num_tokens` is missing"),
        ('"num_tokens":7', '"num_tokens":7,"note":1', "line 2: field `note` is not one"),
        ("{", "", "line 2: not JSON"),
    ],
)
def test_a_changed_line_is_named_with_its_field(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, 3)
    edit(path, 2, old, new)
    with pytest.raises(LedgerError, match=complaint):
        read_ledger(path)


def test_a_line_changed_together_with_its_hash_is_caught_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = written(path, 3).records()
    forged = chain(record(2, loss_bits="0x40000000"), lines[0]["hash"])
    path.write_text("".join(json.dumps(line) + "\n" for line in (lines[0], forged, lines[2])))
    with pytest.raises(LedgerError, match="line 3: field `prev`"):
        read_ledger(path)


def test_a_removed_line_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, 3)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(LedgerError, match="line 1: field `prev`"):
        read_ledger(path)


def test_a_step_that_does_not_follow_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = chain(record(1), "0" * 64)
    lines = (first, chain(record(3), first["hash"]))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LedgerError, match="line 2: field `step` is 3"):
        read_ledger(path)


def test_bytes_that_are_no_text_are_a_corrupt_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, 1)
    with path.open("ab") as file:
        file.write(b"\xff\xfe\n")
    with pytest.raises(LedgerError, match="line 2"):
        read_ledger(path)


def test_a_missing_ledger_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no ledger at"):
        read_ledger(tmp_path / "ledger.jsonl")


def test_a_line_cut_short_by_a_crash_was_never_committed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    last_hash = written(path, 2).last_hash
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"contract":"ab')
    ledger = Ledger(path)
    assert ledger.last_hash == last_hash and path.read_bytes() == whole


def test_truncate_after_forgets_later_steps_and_the_chain_goes_on_as_it_did(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    last_hash = written(path, 4).last_hash
    whole = path.read_bytes()
    ledger = Ledger(path)
    ledger.truncate_after(2)
    assert [line["step"] for line in read_ledger(path)] == [1, 2]
    ledger.append(record(3))
    assert ledger.append(record(4)) == last_hash and path.read_bytes() == whole
    ledger.truncate_after(0)
    assert ledger.last_hash == "0" * 64 and path.read_bytes() == b""


def test_an_append_reaches_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    written(tmp_path / "ledger.jsonl", 1)
    assert synced == [(tmp_path / "ledger.jsonl").stat().st_size]


def test_float_bits_are_those_of_fp32() -> None:
    assert float_bits(1.0) == "0x3f800000"
    assert float_bits(0.0) == "0x00000000"
    assert float_bits(-0.0) == "0x80000000"
    assert float_bits(-math.inf) == "0xff800000"
    assert float_bits(math.nan) == "0x7fc00000"


def test_a_value_that_fp32_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.1 at position 1"):
        digest_logprobs([[0.5, 0.1]])
    for value in (0.1, 1e300):
        with pytest.raises(ValueError, match="not an fp32 value"):
            float_bits(value)


def test_digest_logprobs_is_sha256_over_length_and_little_endian_fp32() -> None:
    data = struct.pack("<Q2f", 2, -0.5, -1.25) + struct.pack("<Q", 0) + struct.pack("<Qf", 1, -2.0)
    assert digest_logprobs([[-0.5, -1.25], [], [-2.0]]) == hashlib.sha256(data).hexdigest()


def test_digest_rewards_is_sha256_over_length_and_little_endian_fp64() -> None:
    data = struct.pack("<Q2d", 2, 0.1, 1.0)
    assert digest_rewards([[0.1, 1.0]]) == hashlib.sha256(data).hexdigest()


def test_digest_tokens_counts_rollouts_and_tokens() -> None:
    data = struct.pack("<Q", 2) + struct.pack("<Q2q", 2, 5, 6) + struct.pack("<Qq", 1, 7)
    assert digest_tokens([group("p", [1], [5, 6], [7])]) == hashlib.sha256(data).hexdigest()


def test_digest_prompts_holds_id_and_tokens() -> None:
    data = struct.pack("<Q", 2) + b"p1" + struct.pack("<Q2q", 2, 3, 4)
    assert digest_prompts([group("p1", [3, 4], [5])]) == hashlib.sha256(data).hexdigest()


def test_no_value_moves_across_a_boundary_unseen() -> None:
    assert digest_logprobs([[-1.0, -2.0], [-3.0]]) != digest_logprobs([[-1.0], [-2.0, -3.0]])
    assert digest_rewards([[1.0], [0.0, 1.0]]) != digest_rewards([[1.0, 0.0], [1.0]])
    assert digest_tokens([group("p", [1], [5, 6], [7])]) != digest_tokens([group("p", [1], [5], [6, 7])])
    assert digest_tokens([group("p", [1], [5], [6])]) != digest_tokens([group("p", [1], [5]), group("p", [1], [6])])
    assert digest_logprobs([[0.0]]) != digest_logprobs([[-0.0]])
