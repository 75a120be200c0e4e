"""Only one command at a time works in a run's folder.

The lock is the kernel's, a POSIX record lock on `.lock`: it goes with the process that took it, however that ends, and
is not handed on to what that process forked. A run whose driver was killed can be gone on with while its reward workers
and Ray's processes are still leaving.
"""

import errno
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from rl.durable import naming
from rl.errors import UserError

LOCK_FILE = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)

logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """`folder`, made where it is missing, is this process's alone until the block is left.

    Not to be nested: the inner block would let go of it. Raises UserError naming the process that works there; where
    the filesystem has no locks, a warning is logged and nothing is held.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with naming(path):
        file = FileIO(path, "a+")
    with file:
        if _take(file, folder):
            with naming(path):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}".encode())
        yield


def _take(file: FileIO, folder: Path) -> bool:
    """Whether the lock is held; False where there are none. Raises UserError where another process has it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise UserError(
                f"{_holder(file)} is at work in {folder}; wait until it has ended, or stop it first"
            ) from error
        logger.warning("%s cannot be locked (%s): see to it that no other command works in it", folder, error.strerror)
        return False
    return True


def _holder(file: FileIO) -> str:
    """Who wrote itself down; it may just be about to."""
    file.seek(0)
    return file.read().decode(errors="replace") or "another process"
