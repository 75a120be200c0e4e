import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from rl.checkpoint import (
    CheckpointError,
    Position,
    complete_checkpoints,
    last_checkpoint,
    reached_step,
    save_checkpoint,
    verified_position,
)
from rl.errors import UserError
from rl.run_folder import RunFolder


def position(step: int) -> Position:
    return Position(step, 4 * step, f"hash {step}", f"policy {step}", 100 * step, 0.5 * step)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.create()
    return folder


def save(run: RunFolder, *steps: int, keep: int = 9) -> None:
    for step in steps:
        save_checkpoint(run, position(step), lambda folder, step=step: write_state(folder, step), keep)


def write_state(folder: Path, step: int) -> None:
    (folder / "trainer.safetensors").write_bytes(bytes([step % 256]) * 100)
    (folder / "parts").mkdir()
    (folder / "parts" / "0").write_bytes(b"part")


def names(run: RunFolder) -> list[str]:
    return sorted(os.listdir(run.checkpoints_dir))


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def silent(_: str) -> None: ...


def test_the_newest_is_found_with_what_was_written(run: RunFolder) -> None:
    assert last_checkpoint(run, silent) is None and reached_step(run) == 0
    save(run, 1, 2)
    assert last_checkpoint(run, silent) == (run.checkpoint_path(2), position(2))
    assert reached_step(run) == 2


def test_the_newest_is_the_one_of_the_highest_step_and_not_of_the_last_name(run: RunFolder) -> None:
    save(run, 1_000_000, 999_999)
    (run.checkpoints_dir / "step_9999999 (copy)").mkdir()
    assert reached_step(run) == 1_000_000
    assert last_checkpoint(run, silent) == (run.checkpoint_path(1_000_000), position(1_000_000))


def test_only_the_newest_are_kept(run: RunFolder) -> None:
    save(run, 1, 2, 3, keep=2)
    assert names(run) == ["step_000002", "step_000003"]


@pytest.mark.parametrize("harm", [flip_a_bit, cut_short, Path.unlink])
@pytest.mark.parametrize("name", ["trainer.safetensors", "parts/0", "checkpoint.json"])
def test_a_corrupt_file_is_named_and_the_one_before_taken(run: RunFolder, name: str, harm) -> None:
    save(run, 1, 2)
    harm(run.checkpoint_path(2) / name)
    with pytest.raises(CheckpointError, match=f"step_000002/{name}"):
        verified_position(run.checkpoint_path(2))
    said: list[str] = []
    assert last_checkpoint(run, said.append) == (run.checkpoint_path(1), position(1))
    (line,) = said
    assert line.startswith("checkpoint step_000002 is corrupt: ") and line.endswith("; going on from step_000001")
    assert f"step_000002/{name}" in line


@pytest.mark.parametrize("key", ["step", "cursor", "policy_digest"])
def test_a_manifest_that_was_edited_is_found(run: RunFolder, key: str) -> None:
    save(run, 1)
    path = run.checkpoint_path(1) / "checkpoint.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {key: manifest[key] * 2}))
    with pytest.raises(CheckpointError, match="does not hash to the digest in it"):
        verified_position(run.checkpoint_path(1))


def test_a_corrupt_one_does_not_push_out_a_good_one_and_goes_with_the_next(run: RunFolder) -> None:
    save(run, 1, 2)
    flip_a_bit(run.checkpoint_path(2) / "trainer.safetensors")
    last_checkpoint(run, silent)
    assert names(run) == [".step_000002.corrupt", "step_000001"]
    save(run, 2, keep=2)
    assert names(run) == ["step_000001", "step_000002"]
    assert last_checkpoint(run, silent) == (run.checkpoint_path(2), position(2))


def test_where_none_is_good_each_is_named_and_none_is_touched(run: RunFolder) -> None:
    save(run, 1, 2)
    cut_short(run.checkpoint_path(1) / "trainer.safetensors")
    shutil.rmtree(run.checkpoint_path(2))
    run.checkpoint_path(2).mkdir()
    with pytest.raises(CheckpointError) as raised:
        last_checkpoint(run, silent)
    text = str(raised.value)
    assert "step_000001/trainer.safetensors has 50 bytes, not the 100 that were written" in text
    assert "step_000002/checkpoint.json cannot be read" in text
    assert "put one back from a copy, or delete" in text
    assert names(run) == ["step_000001", "step_000002"]


def test_what_a_killed_process_left_is_not_taken_for_a_checkpoint_and_goes(run: RunFolder) -> None:
    save(run, 1)
    for left in (".step_000002.partial", ".step_000000.removed"):
        shutil.copytree(run.checkpoint_path(1), run.checkpoints_dir / left)
    assert last_checkpoint(run, silent) == (run.checkpoint_path(1), position(1))
    assert names(run) == ["step_000001"]


def test_a_full_disk_leaves_the_checkpoint_before_and_nothing_half_written(run: RunFolder) -> None:
    save(run, 1, keep=1)

    def fills_up(folder: Path) -> None:
        write_state(folder, 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="no space left to write .*step_000002; free some"):
        save_checkpoint(run, position(2), fills_up, keep=1)
    assert names(run) == ["step_000001"]
    assert last_checkpoint(run, silent) == (run.checkpoint_path(1), position(1))


def test_a_disk_that_fills_up_for_the_manifest_leaves_the_one_before(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1, keep=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rl.checkpoint.write_atomically", full)
    with pytest.raises(UserError, match="no space left"):
        save(run, 2, keep=1)
    assert names(run) == ["step_000001"]


def test_a_process_killed_before_the_rename_leaves_the_one_before(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1, keep=1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rl.checkpoint.publish_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        save(run, 2, keep=1)
    assert names(run) == [".step_000002.partial", "step_000001"]
    monkeypatch.undo()
    save(run, 2, keep=1)
    assert names(run) == ["step_000002"]


def test_a_process_killed_while_it_removes_an_old_one_leaves_no_half_checkpoint(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rmdir", killed)
    monkeypatch.setattr(os, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        save(run, 2, keep=1)
    monkeypatch.undo()
    assert complete_checkpoints(run) == [run.checkpoint_path(2)]
    assert last_checkpoint(run, silent) == (run.checkpoint_path(2), position(2))
    assert names(run) == ["step_000002"]


def test_a_trainer_that_writes_on_another_disk_is_named(run: RunFolder) -> None:
    with pytest.raises(UserError, match="left no state in .*disk that all nodes share"):
        save_checkpoint(run, position(1), lambda folder: None, keep=1)
    assert names(run) == []
