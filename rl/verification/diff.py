"""`zerokl diff`: where two runs part, and under which contracts they were made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.contract.recorded import RunContract, read_contracts
from rl.errors import UserError
from rl.ledger import read_ledger
from rl.run_folder import RunFolder
from rl.verification.difference import OF_CONTRACT, Difference, first_difference
from rl.verification.places import Side, place_of
from rl.verification.weight_places import run_parameters

INDENT = "  "


@dataclass(frozen=True)
class DiffReport:
    """What there is to say about two runs."""

    is_same: bool
    """Every field of every record."""
    text: str


def diff_runs(a: Path, b: Path) -> DiffReport:
    """The report on the runs in two folders. Raises UserError where one is no run, LedgerError on a broken chain."""
    sides = Side(str(a), RunFolder(a)), Side(str(b), RunFolder(b))
    for side in sides:
        side.folder.require()
    records = [_records(side) for side in sides]
    lines = [f"{side.name}: {_extent(own)}" for side, own in zip(sides, records, strict=True)]
    if [record["hash"] for record in records[0]] == [record["hash"] for record in records[1]]:
        return DiffReport(True, "\n".join([*lines, f"identical: {len(records[0])} records"]))
    lines += [f"contract: {change}" for change in _contract_changes(*sides)]
    lines += _differences(*sides, *records)
    return DiffReport(False, "\n".join(lines))


def describe(difference: Difference, a: Side, b: Side) -> list[str]:
    """A difference with its place, a line each."""
    rest = f" (and then {', '.join(difference.fields[1:])})" if difference.fields[1:] else ""
    place = place_of(difference, a, b, run_parameters(a.folder))
    return [f"step {difference.step}, field {difference.field}{rest}", *(INDENT + line for line in place)]


def _differences(a: Side, b: Side, of_a: Sequence[dict[str, Any]], of_b: Sequence[dict[str, Any]]) -> list[str]:
    common = min(len(of_a), len(of_b))
    difference = first_difference(of_a, of_b)
    if difference is None:
        shorter, longer = (a, b) if len(of_a) < len(of_b) else (b, a)
        return [f"the first {common} records are identical; {shorter.name} ends there and {longer.name} goes on"]
    first, *place = describe(difference, a, b)
    lines = [f"first difference: {first}", *place]
    if difference.field not in OF_CONTRACT:
        return lines
    number = first_difference(of_a, of_b, ignoring=OF_CONTRACT)
    if number is None:
        return [*lines, f"every number of the first {common} steps is the same: only the contract differs"]
    first, *place = describe(number, a, b)
    return [*lines, f"first difference in a number: {first}", *place]


def _records(side: Side) -> list[dict[str, Any]]:
    records = read_ledger(side.folder.ledger_path)
    if not records:
        raise UserError(f"{side.folder.ledger_path} has no record; give the folder of a run that has done a step")
    return records


def _extent(records: Sequence[dict[str, Any]]) -> str:
    return f"{len(records)} steps, final hash {records[-1]['hash']}"


def _contract_changes(a: Side, b: Side) -> list[str]:
    """In which parts the present contracts of two runs differ."""
    mine, theirs = _contract(a), _contract(b)
    if mine is None or theirs is None:
        absent = a if mine is None else b
        return [f"there is no {absent.folder.contract_path} to compare with"]
    return mine.changes(theirs)


def _contract(side: Side) -> RunContract | None:
    return read_contracts(side.folder.contract_path).present if side.folder.contract_path.is_file() else None
