"""The contract of a run: everything that decides its bits, in readable parts and under one digest.

`kernels.contract` is what trainer and engines compute with. This is that and all the rest: code, versions, seed, data,
rewards, algorithm, optimizer, initial weights (`rl.contract.parts`). A run's folder holds it as `contract.json`, every
ledger record its digest.

    resume, verify ── read what is recorded ── the same as here? ── yes: go on
                                                    └── no: refuse and say which parts differ, or go on where that is
                                                        allowed, and mark the first record that follows
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.durable import committed_lines, write_atomically
from rl.errors import BrokenGuarantee, UserError
from rl.run_folder import RunFolder

ALLOW_CHANGE = "--allow-contract-change"
_DIGEST = re.compile(r"[0-9a-f]{64}")

logger = logging.getLogger(__name__)


class ContractChanged(UserError):
    """A run was made under another contract than there is here."""


@dataclass(frozen=True)
class RunContract:
    """What decides the bits, as a tree of named parts: plain values that JSON can hold."""

    parts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """sha256 hex over the parts as JSON: keys sorted, no spaces, ASCII only."""
        text = json.dumps(self.parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def changes(self, later: "RunContract") -> list[str]:
        """One line for each part in which `later` differs: `versions.torch: 2.13.0 -> 2.14.0`."""
        before, after = dict(_leaves(self.parts)), dict(_leaves(later.parts))
        names = [name for name in before | after if before.get(name) != after.get(name)]
        return [f"{name}: {_shown(before.get(name))} -> {_shown(after.get(name))}" for name in names]

    def only(self, sections: Mapping[str, Any]) -> "RunContract":
        """The parts that stand under the same sections, the keys at the top, as `sections`."""
        return RunContract({name: part for name, part in self.parts.items() if name in sections})


@dataclass(frozen=True)
class Contracts:
    """What decides the bits of a run, and what did before it was changed."""

    present: RunContract
    earlier: tuple[RunContract, ...] = ()

    def find(self, digest: str) -> RunContract | None:
        """The contract with this digest; None where the run never had one."""
        return next((contract for contract in (self.present, *self.earlier) if contract.digest == digest), None)

    def change_since(self, digest: str | None) -> str:
        """In which parts the present contract differs from that with `digest`; empty where it is the same, or None."""
        if digest in (None, self.present.digest):
            return ""
        assert digest is not None
        before = self.find(digest)
        return "; ".join(before.changes(self.present)) if before else f"from {digest}, whose parts are not known"

    def followed_by(self, contract: RunContract) -> "Contracts":
        """The contracts of a run that goes on under `contract`."""
        if contract.digest == self.present.digest:
            return self
        known = (self.present, *self.earlier)
        return Contracts(contract, tuple(other for other in known if other.digest != contract.digest))


class Terms:
    """Under what a run goes on, settled in two steps: what can be said before anything starts, then the rest."""

    def __init__(self, folder: RunFolder, declared: Mapping[str, Any], allow_change: bool) -> None:
        """`declared`: the parts known by now. Raises ContractChanged where the run has begun and they differ."""
        self._folder, self._declared, self._allow_change = folder, declared, allow_change
        self._recorded = recorded_contracts(folder, allow_change)
        if self._recorded:
            self._require_same(self._recorded.present.only(declared), RunContract(declared))

    def settle(self, computed: Mapping[str, Any]) -> Contracts:
        """The contracts from now on, written down; `computed` are the parts that were not declared.

        Raises ContractChanged, and writes nothing, where they are others than the run's.
        """
        present = RunContract({**self._declared, **computed})
        contracts = self._recorded.followed_by(present) if self._recorded else Contracts(present)
        if self._recorded and (changes := self._require_same(self._recorded.present, present)):
            logger.warning("the contract of the run changes: %s", "; ".join(changes))
        write_contracts(self._folder.contract_path, contracts)
        return contracts

    def _require_same(self, recorded: RunContract, present: RunContract) -> list[str]:
        """The changes that are allowed. Raises ContractChanged where they are not."""
        changes = recorded.changes(present)
        if changes and not self._allow_change:
            raise ContractChanged(
                f"the contract differs from the one that the run was made under: {'; '.join(changes)}; put back what "
                f"was changed, or go on all the same with {ALLOW_CHANGE}"
            )
        return changes


def recorded_contracts(folder: RunFolder, may_be_missing: bool = False) -> Contracts | None:
    """The contracts of the run in `folder`; None where it has not begun, so that any will do.

    Raises ContractChanged where records are there and `contract.json` is not, unless it `may_be_missing`.
    """
    if folder.contract_path.exists():
        return read_contracts(folder.contract_path)
    if committed_lines(folder.ledger_path) and not may_be_missing:
        raise ContractChanged(
            f"{folder.contract_path} is missing, so nothing says under which contract the run was made; put it back, "
            f"or go on with {ALLOW_CHANGE}"
        )
    return None


def read_contracts(path: Path) -> Contracts:
    """The contracts in `path`. Raises BrokenGuarantee where its parts do not hash to the digests beside them."""
    try:
        values = json.loads(path.read_text("utf-8"))
        entries = [values, *values["earlier"]]
        contracts = [_checked(RunContract(entry["parts"]), entry["digest"], path) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenGuarantee(f"{path} is not what was written: {type(error).__name__}: {error}") from error
    return Contracts(contracts[0], tuple(contracts[1:]))


def write_contracts(path: Path, contracts: Contracts) -> None:
    """Write `contracts` to `path`, to be read by people: the present one first."""
    values = _entry(contracts.present) | {"earlier": [_entry(contract) for contract in contracts.earlier]}
    write_atomically(path, json.dumps(values, indent=2) + "\n")


def _entry(contract: RunContract) -> dict[str, Any]:
    return {"digest": contract.digest, "parts": contract.parts}


def _checked(contract: RunContract, digest: str, path: Path) -> RunContract:
    if contract.digest != digest:
        raise BrokenGuarantee(f"{path}: the parts hash to {contract.digest}, not to {digest}; a part was changed")
    return contract


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name of all that is no mapping and its value as JSON, in the order in which it stands."""
    if not isinstance(tree, Mapping) or (name and not tree):
        yield name, json.dumps(tree)
        return
    for key, child in tree.items():
        yield from _leaves(child, f"{name}.{key}".lstrip("."))


def _shown(value: str | None) -> str:
    """A leaf as people read it: digests cut short, and texts without their quotes."""
    if value is None:
        return "nothing"
    text = json.loads(value)
    return _DIGEST.sub(lambda found: f"{found[0][:12]}…", text if isinstance(text, str) and text else value)
