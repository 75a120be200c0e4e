"""Files that survive a crash: whole or absent, and a full disk names the file.

A line counts as written once its newline is there; what a killed process left after the last newline never was.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a full disk or a refused write inside the block into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"no space left to write {path}; free some, or set run.dir to a folder on another disk"
            ) from error
        if error.errno in _REFUSED:
            raise UserError(f"cannot write {path}: {error.strerror}; set run.dir to a folder you can write") from error
        raise


def append_line(path: Path, line: str, *, sync: bool = False) -> None:
    """Append `line` and a newline. With `sync` it is on the disk, not in a cache, when this returns."""
    with naming(path), path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(line + "\n")
        file.flush()
        if sync:
            os.fsync(file.fileno())


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` with `text`: a reader, or a crash, sees the old file or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path):
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


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
