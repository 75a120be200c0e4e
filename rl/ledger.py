"""The chain of a run: one line a step, each holding the hash of the line before.

A line is a JSON object with keys sorted and no spaces, ASCII only (`ensure_ascii`), so its UTF-8 bytes are the text
itself. `hash` is sha256 over that text without `hash`; the first `prev` is 64 zeros.

The digests inside are sha256 over little-endian bytes, every list preceded by its length as an unsigned 64-bit integer,
so that no value can move across a boundary unseen: tokens as int64, log-probabilities as fp32, rewards as fp64, a
prompt's id as UTF-8. The gradient, flat and fp32, is hashed in chunks (`rl.gradient.gradient_digest`).
"""

import dataclasses
import hashlib
import json
import math
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl.durable import append_line, committed_lines, cut_uncommitted, write_atomically
from rl.errors import BrokenGuarantee, UserError
from rl.types import Groups, StepRecord, SupervisedRecord

GENESIS = "0" * 64
"""`prev` of the first record."""

Record = StepRecord | SupervisedRecord
"""What one line says, of a run with rollouts or of one with given examples."""

_FIELD_TYPES, _SUPERVISED_FIELD_TYPES = (
    {field.name: field.type for field in dataclasses.fields(kind)} | {"prev": str, "hash": str}
    for kind in (StepRecord, SupervisedRecord)
)
_OPTIONAL = frozenset(("off_policy", "contract_change"))
"""The fields that a line has only where there is something to say."""


class LedgerError(BrokenGuarantee):
    """A line of a ledger that is not what was written."""


class Ledger:
    """The ledger of a run that is going on. Opening it verifies what is there.

    A line without its newline, left by a process killed while writing, was never committed and is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        cut_uncommitted(path)
        self._remember(self.records())

    @property
    def last_contract(self) -> str | None:
        """The contract of the last record; None where there is no record."""
        return self.last_record["contract"] if self.last_record else None

    def append(self, record: Record) -> str:
        """Return the record's hash, once its line is on the disk."""
        assert self.last_step in (None, record.step - 1), f"step {record.step} after {self.last_step}"
        chained = chain(record, self.last_hash)
        append_line(self.path, canonical_json(chained), sync=True)
        self._remember([chained])
        return self.last_hash

    def records(self) -> list[dict[str, Any]]:
        """Return every record, verified, oldest first; none where no line has been written yet."""
        return read_ledger(self.path) if self.path.exists() else []

    def truncate_after(self, step: int) -> None:
        """Forget every record later than `step`; the file is replaced in one move."""
        kept = [record for record in self.records() if record["step"] <= step]
        write_atomically(self.path, "".join(canonical_json(record) + "\n" for record in kept))
        self._remember(kept)

    def _remember(self, records: Sequence[dict[str, Any]]) -> None:
        self.last_hash: str = records[-1]["hash"] if records else GENESIS
        self.last_step: int | None = records[-1]["step"] if records else None
        self.last_record = records[-1] if records else None


def chain(record: Record, prev: str) -> dict[str, Any]:
    """Return the ledger line of `record` as a dict: its fields, `prev`, and the `hash` over both."""
    values = dataclasses.asdict(record) | {"prev": prev}
    body = {name: value for name, value in values.items() if value or name not in _OPTIONAL}
    return body | {"hash": _hash(body)}


def canonical_json(value: dict[str, Any]) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the records of `path`, oldest first, after checking each line and the chain.

    Raises `LedgerError` naming the first line and field that do not hold, `UserError` where there is no ledger.
    """
    if not path.is_file():
        raise UserError(f"there is no ledger at {path}; give the folder of a run that has done a step")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(committed_lines(path), start=1):
        record = _parse(line, f"{path}, line {number}")
        _check_links(record, records[-1] if records else None, f"{path}, line {number}")
        records.append(record)
    return records


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise LedgerError(f"{where}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise LedgerError(f"{where}: must be a JSON object, got {line[:40]!r}")
    types = _SUPERVISED_FIELD_TYPES if "batch" in record else _FIELD_TYPES
    for name in sorted((types.keys() ^ record.keys()) - (_OPTIONAL - record.keys())):
        raise LedgerError(f"{where}: field `{name}` is {'missing' if name in types else 'not one of a record'}")
    for name, kind in ((name, kind) for name, kind in types.items() if name in record):
        if type(record[name]) is not kind:
            raise LedgerError(f"{where}: field `{name}` must be {kind}, got {record[name]!r}")
    return record


def _check_links(record: dict[str, Any], before: dict[str, Any] | None, where: str) -> None:
    expected = _hash({name: value for name, value in record.items() if name != "hash"})
    if record["hash"] != expected:
        raise LedgerError(
            f"{where}: field `hash` is {record['hash']}, but the line hashes to {expected}; a field of it was changed"
        )
    prev = before["hash"] if before else GENESIS
    if record["prev"] != prev:
        raise LedgerError(
            f"{where}: field `prev` is {record['prev']}, but the record before hashes to {prev}; "
            "a line was changed, removed or put in"
        )
    if before and record["step"] != before["step"] + 1:
        raise LedgerError(f"{where}: field `step` is {record['step']}, but the record before is {before['step']}")


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode("utf-8")).hexdigest()


def digest_prompts(groups: Groups) -> str:
    """Return the digest of the groups' prompts: for each, its id and the tokens the model reads."""
    return _digest(part for group in groups for part in (_text(group.prompt.id), _ints(group.prompt.token_ids)))


def digest_tokens(groups: Groups) -> str:
    """Return the digest of the completion tokens, rollout by rollout in prompt and sample order."""
    return _digest(
        part
        for group in groups
        for part in (_count(group.rollouts), *(_ints(rollout.token_ids) for rollout in group.rollouts))
    )


def digest_logprobs(rollouts: Iterable[Sequence[float]]) -> str:
    """Return the digest of log-probabilities, one list a rollout.

    Every value must be exactly an fp32 value, or two different ones could share a digest: `ValueError` otherwise.
    """
    return _digest(_count(logprobs) + _fp32(logprobs) for logprobs in rollouts)


def digest_rewards(groups: Iterable[Sequence[float]]) -> str:
    """Return the digest of reward values, one list a group."""
    return _digest(_count(rewards) + np.asarray(rewards, "<f8").tobytes() for rewards in groups)


def float_bits(value: float) -> str:
    """Return the fp32 bits of `value` in hex, sign first: `0x3f800000` for 1.0. NaN is 0x7fc00000."""
    if math.isnan(value):
        return "0x7fc00000"
    return f"0x{struct.unpack('<I', _fp32([value]))[0]:08x}"


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _count(values: Sequence[Any]) -> bytes:
    return struct.pack("<Q", len(values))


def _ints(values: Sequence[int]) -> bytes:
    return _count(values) + np.asarray(values, "<i8").tobytes()


def _text(value: str) -> bytes:
    data = value.encode("utf-8")
    return _count(data) + data


def _fp32(values: Sequence[float]) -> bytes:
    wide = np.asarray(values, "<f8")
    with np.errstate(over="ignore"):
        narrow = wide.astype("<f4")
    for index in np.flatnonzero(narrow.astype("<f8") != wide):
        raise ValueError(f"{values[index]!r} at position {index} is not an fp32 value; hand over the tensor's own")
    return narrow.tobytes()
