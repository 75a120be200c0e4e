"""Does a run's folder hold together? Found without computing anything again.

    ledger ─┬─ chain             rl.ledger, as it is read
            ├─ contract.json     has the contract that a record names
            ├─ rollouts          hash to what their step's record says
            ├─ checkpoints       hash to their manifests, stand where the chain was, hold their step's weights
            └─ model             has the weights that a step ended with

Whoever rewrites a record and all that follow it, or swaps rollouts together with their record, is not found here but by
a replay (`rl.verification.verify`).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.checkpoint import MANIFEST, STATE_FILE, Position, complete_checkpoints, verified_position
from rl.contract.recorded import Contracts
from rl.errors import BrokenGuarantee
from rl.run_folder import RunFolder
from rl.verification.difference import FLOW
from rl.verification.stored_rollouts import ledger_fields, read_rollouts
from rl.verification.weight_places import Parameter, policy_digest

Record = Mapping[str, Any]


class Tampered(BrokenGuarantee):
    """A run's folder is not what the run left."""


@dataclass(frozen=True)
class Model:
    """What is known of a run's model."""

    parameters: Sequence[Parameter]
    """In order; none where it cannot be had any more, so that checkpoints are not looked into."""
    dtype: str
    """What it computes in."""


def require_intact(folder: RunFolder, records: Sequence[Record], contracts: Contracts | None, model: Model) -> None:
    """Nothing; raises Tampered with a line for each thing in the folder that does not fit the ledger.

    contracts: None where they are not known.
    """
    findings = [
        *(contract_findings(folder, records, contracts) if contracts else ()),
        *policy_findings(folder, records),
        *rollout_findings(folder, records),
        *checkpoint_findings(folder, records, model),
        *model_findings(folder, records, model.dtype),
    ]
    if findings:
        raise Tampered("\n".join(findings))


def contract_findings(folder: RunFolder, records: Sequence[Record], contracts: Contracts) -> Iterator[str]:
    """The first record whose contract `contract.json` does not have."""
    unknown = next((record for record in records if contracts.find(record["contract"]) is None), None)
    if unknown:
        yield (
            f"step {unknown['step']}, field contract: no contract in {folder.contract_path} has the digest "
            f"{unknown['contract']}"
        )


def policy_findings(folder: RunFolder, records: Sequence[Record]) -> Iterator[str]:
    """Steps that were sampled by other weights than the step before ended with."""
    for before, record in itertools.pairwise(records):
        if record["policy"] != before["weights"]:
            yield (
                f"step {record['step']}, field policy: {folder.ledger_path} says {record['policy']}, but the step "
                f"before ended with the weights {before['weights']}"
            )


def rollout_findings(folder: RunFolder, records: Sequence[Record]) -> Iterator[str]:
    """Files of rollouts that do not hash to their step's record. A file that is not there says nothing."""
    for record in records:
        path = folder.rollouts_path(record["step"])
        if path.is_file():
            yield from _rollout_findings(path, record)


def checkpoint_findings(folder: RunFolder, records: Sequence[Record], model: Model) -> Iterator[str]:
    """Checkpoints that are corrupt, stand where the chain never was, or hold other weights than their step's."""
    for path in complete_checkpoints(folder):
        try:
            position = verified_position(path)
            if 1 <= position.step <= len(records):
                yield from _checkpoint_findings(path, position, records[position.step - 1], model)
            else:
                yield f"{path} is of step {position.step}, and the ledger ends at step {len(records)}"
        except ValueError as error:
            yield str(error)


def model_findings(folder: RunFolder, records: Sequence[Record], dtype: str) -> Iterator[str]:
    """The final model, where it has weights that no step ended with."""
    if (folder.model_dir / "config.json").is_file():
        digest = _model_digest(folder.model_dir, dtype)
        if digest not in {record["weights"] for record in records}:
            yield f"{folder.model_dir} holds the weights {digest}, with which no step of the ledger ended"


def _checkpoint_findings(path: Path, position: Position, record: Record, model: Model) -> Iterator[str]:
    for name, mine in (("hash", position.ledger_hash), ("weights", position.policy_digest)):
        if mine != record[name]:
            yield f"step {position.step}, field {name}: {path / MANIFEST} says {mine}, the ledger {record[name]}"
    if model.parameters:
        state, weights = path / STATE_FILE, record["weights"]
        held = policy_digest(state, model.parameters, model.dtype)
        if held != weights:
            yield f"step {position.step}, field weights: {state} holds {held}, the ledger says {weights}"


def _rollout_findings(path: Path, record: Record) -> Iterator[str]:
    try:
        found = ledger_fields(read_rollouts(path))
    except (ValueError, TypeError, AttributeError) as error:
        yield f"step {record['step']}: {path} is not what was written: {error}"
        return
    differing = [name for name in FLOW if name in found and found[name] != record[name]]
    if differing:
        name, *others = differing
        rest = f" (and {', '.join(others)})" if others else ""
        yield (
            f"step {record['step']}, field {name}{rest}: {path} comes to {found[name]}, the ledger says {record[name]}"
        )


def _model_digest(model_dir: Path, dtype: str) -> str:
    import torch
    import transformers

    from kernels.digest import weights_digest
    from kernels.recurrent.registration import register

    register()
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype))
    except Exception as error:  # whatever a broken file makes of the loader
        return f"(none that can be read: {error})"
    return weights_digest({name: parameter.data for name, parameter in model.named_parameters()})
