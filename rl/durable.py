"""Files and folders that survive a crash: whole or absent, and a full disk names the file.

A line counts as written once its newline is there; what a killed process left after the last newline never was.
A folder is filled under a hidden name and renamed when all of it is on the disk; it goes under a hidden name too.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rl.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EFBIG)
_RUST_ERROR = re.compile(r"\(os error (\d+)\)(?: at path .*)?$")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a full disk or a refused write inside the block into a `UserError` that names `path`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = _system_error(error)
        if number in _FULL:
            raise UserError(
                f"no space left to write {path}; free some, or move the run's folder to another disk, and go on with "
                "`zerokl resume`"
            ) from error
        if number in _REFUSED:
            raise UserError(
                f"cannot write {path}: {os.strerror(number)}; set run.dir to a folder you can write"
            ) from error
        raise


def append_line(path: Path, line: str, *, sync: bool = False) -> None:
    """Append `line` and a newline, or nothing. With `sync` it is on the disk, not in a cache, when this returns."""
    with naming(path), path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            _write_all(file, f"{line}\n".encode())
            if sync:
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` with `text`: a reader, or a crash, sees the old file or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path):
        try:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)


def publish_folder(partial: Path, final: Path) -> None:
    """Put the finished folder `partial` in the place of `final`, all of it on the disk before it has the name."""
    with naming(final):
        for path in [*sorted(partial.rglob("*")), partial]:
            sync(path)
        remove_folder(final)
        os.rename(partial, final)
        sync(final.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there. Killed in between, it is gone or whole: what is half removed is hidden."""
    if path.exists():
        shutil.rmtree(hide_folder(path, "removed"), ignore_errors=True)


def hide_folder(path: Path, why: str) -> Path:
    """Return where a folder is, once it is out of the way: `.NAME.WHY`, in the place of one that was there."""
    hidden = path.with_name(f".{path.name}.{why}")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(path, hidden)
    return hidden


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def committed_lines(path: Path) -> list[str]:
    """Return the lines of `path` that end with a newline, without it; none if there is no such file."""
    if not path.exists():
        return []
    # Bytes that are not UTF-8 stay visible to whoever checks the line, and never match.
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    return text.split("\n")[:-1]


def cut_uncommitted(path: Path) -> None:
    """Drop what follows the last newline of `path`, if anything does."""
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        with naming(path):
            os.truncate(path, data.rfind(b"\n") + 1)


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Unbuffered, so that closing the file has nothing left to try again."""
    while data:
        data = data[file.write(data) :]


def _system_error(error: Exception) -> int | None:
    """The system's number of an error. Libraries in Rust (safetensors, tokenizers) keep it in their text only."""
    if isinstance(error, OSError):
        return error.errno
    found = _RUST_ERROR.search(str(error))
    return int(found[1]) if found else None
