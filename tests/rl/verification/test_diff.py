import shutil
from pathlib import Path

import pytest

from rl.checkpoint import STATE_FILE
from rl.errors import UserError
from rl.ledger import LedgerError, read_ledger
from rl.run_folder import RunFolder
from rl.verification.diff import diff_runs

from ..synthetic import edit_rollout, flip_bit, make_run, rehash, sha


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a model that has to be made is put."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def a(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "b")


def lines(a: RunFolder, b: RunFolder) -> list[str]:
    report = diff_runs(a.path, b.path)
    assert not report.is_same
    return [line.strip() for line in report.text.splitlines()]


def test_two_runs_with_the_same_chain_are_identical(a: RunFolder, b: RunFolder) -> None:
    report = diff_runs(a.path, b.path)
    last = read_ledger(a.ledger_path)[-1]["hash"]
    assert report.is_same
    assert report.text.splitlines() == [
        f"{a.path}: 3 steps, final hash {last}",
        f"{b.path}: 3 steps, final hash {last}",
        "identical: 3 records",
    ]


def test_a_run_that_goes_further_is_another(a: RunFolder, tmp_path: Path) -> None:
    longer = make_run(tmp_path / "longer", num_steps=5)
    told = f"the first 3 records are identical; {a.path} ends there and {longer.path} goes on"
    assert lines(a, longer)[-1] == lines(longer, a)[-1] == told


def test_a_token_is_named_with_prompt_sample_position_and_both_values(a: RunFolder, b: RunFolder) -> None:
    edit_rollout(b, 2, 3, token_ids=[2, 9])
    rehash(b, 2, tokens=sha("other"))
    told = lines(a, b)
    assert told[2] == "first difference: step 2, field tokens (and then hash)"
    assert told[3:] == [
        f"{a.path}: {read_ledger(a.ledger_path)[1]['tokens']}",
        f"{b.path}: {sha('other')}",
        "prompt train/0/5, sample 1, token_ids, position 1: 8 against 9",
    ]


def test_a_logprob_is_told_in_hex_and_decimal(a: RunFolder, b: RunFolder) -> None:
    edit_rollout(b, 3, 0, rollout_logprobs=["-0x1.0000000000000p-1", "-0x1.0000020000000p+0", "-0x1.8000000000000p-1"])
    rehash(b, 3, rollout_logprobs=sha("other"))
    assert lines(a, b)[-1] == (
        "prompt train/0/6, sample 0, rollout_logprobs, position 1: "
        "-0x1.0000000000000p+0 (-1.0) against -0x1.0000020000000p+0 (-1.0000001192092896)"
    )


def test_a_reward_is_told_in_hex_and_decimal(a: RunFolder, b: RunFolder) -> None:
    edit_rollout(b, 1, 3, reward=0.5)
    rehash(b, 1, rewards=sha("other"))
    expected = "prompt train/0/3, sample 1, reward: 0x1.999999999999ap-4 (0.1) against 0x1.0000000000000p-1 (0.5)"
    assert lines(a, b)[-1] == expected


def test_a_rollout_that_is_longer_is_told_by_its_length(a: RunFolder, b: RunFolder) -> None:
    edit_rollout(b, 1, 0, token_ids=[1, 0, 5, 5])
    rehash(b, 1, tokens=sha("other"))
    assert "token_ids: 3 values against 4, the same as far as both go" in lines(a, b)[-1]


def test_a_loss_is_told_as_a_number(a: RunFolder, b: RunFolder) -> None:
    rehash(b, 1, loss_bits="0x3f800000")
    told = lines(a, b)
    assert told[3:5] == [f"{a.path}: 0x3f000000 (0.5)", f"{b.path}: 0x3f800000 (1.0)"]
    assert told[5] == f"{a.path}: there is no checkpoint of step 1 to look into for the weight that differs"


def test_a_weight_is_told_with_both_values(a: RunFolder, b: RunFolder) -> None:
    flip_bit(b.checkpoint_path(3) / STATE_FILE, "exp_avg", 4)
    rehash(b, 3, weights=sha("other"))
    assert lines(a, b)[-1] == (
        "first Adam moment number 4: 0x1.c000000000000p+2 (7.0) against 0x1.c000020000000p+2 (7.000000476837158); "
        "1 of 10 differ"
    )


def test_rollouts_that_are_gone_are_said_to_be(a: RunFolder, b: RunFolder) -> None:
    rehash(b, 1, tokens=sha("other"))
    shutil.rmtree(b.rollouts_dir)
    assert lines(a, b)[-1] == f"{b.path}: there is no {b.rollouts_path(1)} to look into"


def test_another_contract_is_told_part_by_part_and_apart_from_the_numbers(a: RunFolder, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", parts={"seed": 1, "versions": {"torch": "2.14.0"}})
    told = lines(a, other)
    assert told[2:4] == ["contract: seed: 0 -> 1", "contract: versions.torch: 2.13.0 -> 2.14.0"]
    assert told[4] == "first difference: step 1, field contract (and then hash)"
    assert told[-1] == "every number of the first 3 steps is the same: only the contract differs"
    edit_rollout(other, 2, 0, reward=0.5)
    rehash(other, 2, rewards=sha("other"))
    assert "first difference in a number: step 2, field rewards" in lines(a, other)


def test_a_broken_chain_is_an_error_and_so_is_no_run(a: RunFolder, b: RunFolder, tmp_path: Path) -> None:
    b.ledger_path.write_text(b.ledger_path.read_text().replace('"step":2', '"step":3', 1))
    with pytest.raises(LedgerError, match="b/ledger.jsonl, line 2"):
        diff_runs(a.path, b.path)
    with pytest.raises(UserError, match="is not a run's folder"):
        diff_runs(a.path, tmp_path / "nowhere")
