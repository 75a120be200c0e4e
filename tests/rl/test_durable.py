import errno
import os
from pathlib import Path

import pytest

from rl.durable import append_line, naming, publish_folder, remove_folder, write_atomically
from rl.errors import UserError


class Disk:
    """Stands for a disk: takes so many bytes in writes, then is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._open = Path.open
        monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: _File(self, self._open(path, *args, **kwargs)))


class _File:
    def __init__(self, disk, file) -> None:
        self._disk, self._file = disk, file

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data) -> int:
        taken = data[: self._disk.room]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._disk.room -= len(taken)
        return self._file.write(taken)


def test_a_line_that_the_disk_cuts_short_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    append_line(path, "first", sync=True)
    Disk(monkeypatch, room=4)
    with pytest.raises(UserError, match="no space left to write .*ledger.jsonl; free some.*zerokl resume"):
        append_line(path, "second", sync=True)
    assert path.read_bytes() == b"first\n"


def test_a_line_whose_sync_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    append_line(path, "first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left"):
        append_line(path, "second", sync=True)
    assert path.read_bytes() == b"first\n"


def test_a_line_is_written_whole_by_a_disk_that_takes_it_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, room=100)
    write = _File.write
    monkeypatch.setattr(_File, "write", lambda file, data: write(file, data[:3]))
    append_line(tmp_path / "lines", "a longer line, é")
    assert (tmp_path / "lines").read_text() == "a longer line, é\n"


def test_a_file_that_does_not_fit_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    write_atomically(path, "old")
    Disk(monkeypatch, room=0)
    with pytest.raises(UserError, match="no space left to write .*config.yaml"):
        write_atomically(path, "new")
    assert os.listdir(tmp_path) == ["config.yaml"] and path.read_text() == "old"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), "no space left to write a/b"),
        (OSError(errno.EDQUOT, "x"), "no space left to write a/b"),
        (OSError(errno.EROFS, "x"), "cannot write a/b: Read-only file system"),
        (OSError(errno.EFBIG, "x"), "cannot write a/b: File too large"),
        (Exception("No space left on device (os error 28)"), "no space left to write a/b"),
        (Exception('I/O error: No space left on device (os error 28) at path "a/.tmp1"'), "no space left to write a/b"),
    ],
)
def test_what_the_system_refuses_is_named_with_the_file(error: Exception, message: str) -> None:
    with pytest.raises(UserError, match=message), naming(Path("a/b")):
        raise error


def test_the_library_that_writes_weights_says_it_so(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "w.safetensors"
    with pytest.raises(UserError, match="cannot write .*: Not a directory"), naming(path):
        save_file({}, path)


@pytest.mark.parametrize("error", [ValueError("28"), OSError(errno.EIO, "x"), UserError("no space left (os error 28)")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, naming(Path("a/b")):
        raise error
    assert raised.value is error


def folder_with(path: Path, text: str) -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_text(text)
    return path


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    folder_with(tmp_path / "model", "old")
    publish_folder(folder_with(tmp_path / ".model.partial", "new"), tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model" / "inner" / "file").read_text() == "new"


def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def note_sync(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    def note_rename(before: Path, after: Path) -> None:
        done.append("rename")
        rename(before, after)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    publish_folder(folder_with(tmp_path / "partial", "x"), tmp_path / "final")
    assert done == ["inner", "file", "partial", "rename", tmp_path.name]


def test_a_folder_half_removed_no_longer_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_with(tmp_path / "step", "x")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rmdir", killed)
    monkeypatch.setattr(os, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "step")
    assert os.listdir(tmp_path) == [".step.removed"]
    monkeypatch.undo()
    folder_with(tmp_path / "step", "x")
    remove_folder(tmp_path / "step")
    assert os.listdir(tmp_path) == []
