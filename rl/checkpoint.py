"""Checkpoints: written under a temporary name, renamed when whole, verified when read.

checkpoints/step_000010/
    trainer.safetensors    master weights and optimizer state, flat, the same for every world size
    checkpoint.json        step, cursor, ledger hash, policy, and the sha256 of the file above
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rl.durable import naming, write_atomically
from rl.errors import UserError
from rl.run_folder import RunFolder
from rollout.types import PolicyVersion

STATE_FILE = "trainer.safetensors"
MANIFEST = "checkpoint.json"


@dataclass(frozen=True)
class Position:
    """Where a run stands after a step: all that is not in the trainer's state."""

    step: int
    cursor: int
    """Prompts taken from the training data so far."""
    ledger_hash: str
    policy_digest: str
    num_tokens: int
    """Completion tokens so far."""
    step_time_s: float
    """Time spent in steps so far."""

    @property
    def policy(self) -> PolicyVersion:
        return PolicyVersion(self.step, self.policy_digest)


def save_checkpoint(run: RunFolder, position: Position, write_state: Callable[[Path], None], keep: int) -> None:
    """Nothing; afterwards the checkpoint is whole on the disk, and only the `keep` newest are left.

    `write_state` fills the folder with the trainer's state.
    """
    final = run.checkpoint_path(position.step)
    partial = final.with_name(f".{final.name}.partial")
    with naming(final):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_state(partial.resolve())  # it may run in a process that stands elsewhere
        manifest = asdict(position) | {"files": {STATE_FILE: file_digest(partial / STATE_FILE)}}
        write_atomically(partial / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        os.rename(partial, final)
    for old in complete_checkpoints(run)[:-keep]:
        shutil.rmtree(old)


def complete_checkpoints(run: RunFolder) -> list[Path]:
    """The checkpoints that were finished, oldest first."""
    return sorted(p for p in run.checkpoints_dir.glob("step_*") if (p / MANIFEST).is_file())


def last_checkpoint(run: RunFolder) -> tuple[Path, Position] | None:
    """The newest checkpoint and its position, its files verified; None where there is none.

    Raises UserError naming a file that is not what was written.
    """
    found = complete_checkpoints(run)
    return (found[-1], _verified(found[-1])) if found else None


def file_digest(path: Path) -> str:
    """sha256 hex over a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(folder: Path) -> Position:
    remedy = f"the checkpoint is corrupt; delete {folder} to go on from the one before"
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = manifest.pop("files")
        position = Position(**manifest)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder / MANIFEST} cannot be read ({error}); {remedy}") from error
    for name, digest in files.items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise UserError(f"{folder / name} does not hash to what its manifest says; {remedy}")
    return position
