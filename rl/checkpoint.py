"""Checkpoints: written under a hidden name, renamed when whole and on the disk, verified when read.

checkpoints/step_000010/
    trainer.safetensors    master weights and optimizer state, flat, the same for every world size
    checkpoint.json        step, cursor, ledger hash, policy, size and sha256 of each file, and its own sha256
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl.durable import hide_folder, naming, publish_folder, remove_folder, sync, write_atomically
from rl.errors import UserError
from rl.run_folder import RunFolder
from rollout.types import PolicyVersion

STATE_FILE = "trainer.safetensors"
MANIFEST = "checkpoint.json"
_CORRUPT = "corrupt"


class CheckpointError(UserError):
    """A checkpoint that is not what was written."""


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

    `write_state` fills the folder with the trainer's state. A failure leaves the checkpoints before as they were.
    """
    final = run.checkpoint_path(position.step)
    partial = final.with_name(f".{final.name}.partial")
    _clear(run, but=_CORRUPT)  # before, for the room
    with naming(final):
        try:
            partial.mkdir(parents=True)
            write_state(partial.resolve())  # it may run in a process that stands elsewhere
            write_atomically(partial / MANIFEST, _manifest(partial, position))
            _sync_what_it_follows(run)
            publish_folder(partial, final)
        except Exception:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    for old in complete_checkpoints(run)[:-keep]:
        remove_folder(old)
    _clear(run)


def complete_checkpoints(run: RunFolder) -> list[Path]:
    """The checkpoints that were finished, oldest first: nothing gets such a name before it is whole."""
    return sorted((path for path in run.checkpoints_dir.glob("step_*") if _number(path).isdigit()), key=_step)


def reached_step(run: RunFolder) -> int:
    """The step of the newest checkpoint, which is not read; 0 where there is none."""
    return max(map(_step, complete_checkpoints(run)), default=0)


def last_checkpoint(run: RunFolder, say: Callable[[str], None]) -> tuple[Path, Position] | None:
    """The newest checkpoint that is what was written, and its position; None where none was made.

    Newer ones that are corrupt are named to `say` and put aside until the next is whole. Raises CheckpointError where
    all are.
    """
    _clear(run, but=_CORRUPT)
    damage: dict[Path, CheckpointError] = {}
    for folder in reversed(complete_checkpoints(run)):
        try:
            position = verified_position(folder)
        except CheckpointError as error:
            damage[folder] = error
            continue
        for corrupt, why in damage.items():
            say(f"checkpoint {corrupt.name} is corrupt: {why}; going on from {folder.name}")
            hide_folder(corrupt, _CORRUPT)
        return folder, position
    if damage:
        raise CheckpointError(
            f"no checkpoint of {run.path} is what was written: {'; '.join(map(str, damage.values()))}; put one back "
            f"from a copy, or delete {run.checkpoints_dir} to let `zerokl resume` start over from step 0"
        )
    return None


def verified_position(folder: Path) -> Position:
    """The position of a finished checkpoint. Raises CheckpointError naming a file that is not what was written."""
    manifest = _read_manifest(folder / MANIFEST)
    for name, written in manifest.pop("files").items():
        _require_as_written(folder / name, written)
    return Position(**manifest)


def file_digest(path: Path) -> str:
    """sha256 hex over a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _number(folder: Path) -> str:
    return folder.name.removeprefix("step_")


def _step(folder: Path) -> int:
    return int(_number(folder))


def _manifest(folder: Path, position: Position) -> str:
    files = {path.relative_to(folder).as_posix(): _measured(path) for path in sorted(_files(folder))}
    if not files:
        raise UserError(
            f"the trainer left no state in {folder}; set run.dir to a folder on a disk that all nodes share"
        )
    body = asdict(position) | {"files": files}
    return json.dumps(body | {"digest": _digest(body)}, indent=2) + "\n"


def _read_manifest(path: Path) -> dict[str, Any]:
    """What a manifest says, its own digest checked and taken out."""
    try:
        manifest = json.loads(path.read_bytes())
        digest = manifest.pop("digest")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error})") from error
    if _digest(manifest) != digest:
        raise CheckpointError(f"{path} does not hash to the digest in it")
    return dict(manifest)


def _require_as_written(path: Path, written: dict[str, Any]) -> None:
    try:
        found = _measured(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    if found["bytes"] != written["bytes"]:
        raise CheckpointError(f"{path} has {found['bytes']:,} bytes, not the {written['bytes']:,} that were written")
    if found["sha256"] != written["sha256"]:
        raise CheckpointError(f"{path} does not hash to what its manifest says")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _measured(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sync_what_it_follows(run: RunFolder) -> None:
    """The ledger and the rollouts are on the disk since their step; a metric may still be in a cache."""
    for path in (run.metrics_path, run.path):
        if path.exists():
            sync(path)


def _clear(run: RunFolder, but: str = "") -> None:
    """Removes what killed processes left half written or half removed, and what was put aside, all `but` one kind."""
    for path in run.checkpoints_dir.glob(".step_*"):
        if not (but and path.name.endswith(but)):
            shutil.rmtree(path, ignore_errors=True)
