import json
import logging
from pathlib import Path

import pytest

from rl.contract.recorded import ContractChanged, Contracts, RunContract, Terms, read_contracts, write_contracts
from rl.errors import BrokenGuarantee
from rl.run_folder import RunFolder

PARTS = {"seed": 0, "versions": {"torch": "2.13.0"}, "sampling": {"stop_token_ids": [2]}, "algorithm": {"params": {}}}
COMPUTED = {"compute": {"dtype": "float32"}, "weights": "ab" * 32}


def changed(**parts: object) -> RunContract:
    return RunContract(PARTS | parts)


def folder_of_a_run(path: Path) -> RunFolder:
    """A run that began under `PARTS`."""
    folder = RunFolder(path)
    folder.create()
    Terms(folder, PARTS, allow_change=False).settle(COMPUTED)
    return folder


def test_the_digest_does_not_know_in_which_order_parts_stand_and_knows_every_value() -> None:
    assert RunContract(dict(reversed(PARTS.items()))).digest == RunContract(PARTS).digest
    assert changed(seed=1).digest != changed(seed="0").digest != RunContract(PARTS).digest


def test_changes_are_told_part_by_part_with_both_values() -> None:
    later = changed(seed=1, versions={"torch": "2.14.0", "vllm": "0.9"}, sampling={"stop_token_ids": [2, 3]})
    assert RunContract(PARTS).changes(later) == [
        "seed: 0 -> 1",
        "versions.torch: 2.13.0 -> 2.14.0",
        "sampling.stop_token_ids: [2] -> [2, 3]",
        "versions.vllm: nothing -> 0.9",
    ]


def test_changes_cut_digests_short_and_still_see_their_ends() -> None:
    a, b = RunContract({"weights": "a" * 64}), RunContract({"weights": "a" * 63 + "b"})
    assert a.changes(b) == ["weights: aaaaaaaaaaaa… -> aaaaaaaaaaaa…"]


def test_what_is_written_is_read_back_with_its_history(tmp_path: Path) -> None:
    contracts = Contracts(changed(seed=2), (changed(seed=1), RunContract(PARTS)))
    write_contracts(tmp_path / "contract.json", contracts)
    again = read_contracts(tmp_path / "contract.json")
    assert again == contracts and again.find(RunContract(PARTS).digest) == RunContract(PARTS)


def test_an_edited_part_does_not_hash_to_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    write_contracts(path, Contracts(RunContract(PARTS)))
    path.write_text(path.read_text().replace("2.13.0", "2.12.0"))
    with pytest.raises(BrokenGuarantee, match="a part was changed"):
        read_contracts(path)


def test_the_change_since_a_record_is_told_and_nothing_where_there_is_none() -> None:
    before, after = RunContract(PARTS), changed(seed=1)
    contracts = Contracts(before).followed_by(after)
    assert contracts.change_since(before.digest) == "seed: 0 -> 1"
    assert contracts.change_since(after.digest) == contracts.change_since(None) == ""
    assert "whose parts are not known" in contracts.change_since("c" * 64)


def test_a_run_goes_on_under_its_own_contract(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path)
    written = folder.contract_path.read_bytes()
    contracts = Terms(folder, PARTS, allow_change=False).settle(COMPUTED)
    assert contracts.earlier == () and folder.contract_path.read_bytes() == written


def test_another_contract_is_refused_before_anything_starts_and_nothing_is_written(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path)
    written = folder.contract_path.read_bytes()
    with pytest.raises(ContractChanged, match="seed: 0 -> 1; .*--allow-contract-change"):
        Terms(folder, PARTS | {"seed": 1}, allow_change=False)
    assert folder.contract_path.read_bytes() == written


def test_what_only_the_engines_know_is_refused_when_they_say_it(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path)
    terms = Terms(folder, PARTS, allow_change=False)
    with pytest.raises(ContractChanged, match="compute.dtype: float32 -> bfloat16"):
        terms.settle(COMPUTED | {"compute": {"dtype": "bfloat16"}})


def test_an_allowed_change_is_kept_with_what_was_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of_a_run(tmp_path)
    with caplog.at_level(logging.WARNING):
        contracts = Terms(folder, PARTS | {"seed": 1}, allow_change=True).settle(COMPUTED)
    assert "seed: 0 -> 1" in caplog.text
    assert read_contracts(folder.contract_path) == contracts
    (earlier,) = contracts.earlier
    assert contracts.change_since(earlier.digest) == "seed: 0 -> 1"
    assert Terms(folder, PARTS | {"seed": 1}, allow_change=False).settle(COMPUTED) == contracts


def test_going_back_to_an_earlier_contract_keeps_each_once(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path)
    for seed in (1, 0):
        contracts = Terms(folder, PARTS | {"seed": seed}, allow_change=True).settle(COMPUTED)
    assert [contract.parts["seed"] for contract in (contracts.present, *contracts.earlier)] == [0, 1]


def test_a_missing_contract_is_refused_once_there_is_a_record(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path)
    folder.contract_path.unlink()
    assert Terms(folder, PARTS, allow_change=False).settle(COMPUTED).earlier == ()
    folder.contract_path.unlink()
    folder.ledger_path.write_text("{}\n")
    with pytest.raises(ContractChanged, match="contract.json is missing"):
        Terms(folder, PARTS, allow_change=False)
    Terms(folder, PARTS, allow_change=True)


def test_contract_json_can_be_checked_with_json_and_hashlib_alone(tmp_path: Path) -> None:
    import hashlib

    values = json.loads(folder_of_a_run(tmp_path).contract_path.read_text())
    text = json.dumps(values["parts"], sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == values["digest"]
