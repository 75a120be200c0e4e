"""Ray: joins the cluster that is there, or starts one and leaves nothing of it behind."""

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ray

from rl.errors import UserError

QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}
ANSWER_TIMEOUT_S = 5.0
NUM_STARTS = 3


@contextmanager
def ray_cluster() -> Iterator[None]:
    """A connection to Ray. A cluster that was running stays up; one started here is shut down.

    Raises UserError where `RAY_ADDRESS` names a cluster that does not answer.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = running_cluster(os.environ)
    with _own_sigterm():
        if address:
            ray.init(address=address, **QUIET)
        else:
            # A token of its own: else Ray leaves one in the home folder, and later clusters ask their users for it.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            _start_own()
    try:
        yield
    finally:
        with _own_sigterm():
            ray.shutdown()


def _start_own() -> None:
    """Nothing; a cluster of this process is up. Ray (2.60) gives its node 30 s to start, which a busy machine may not
    do, and has no setting for it: then it is started again."""
    for attempt in range(1, NUM_STARTS + 1):
        try:
            ray.init(address="local", include_dashboard=False, num_cpus=max(4, os.cpu_count() or 1), **QUIET)
            return
        except Exception as error:  # Ray raises no class of its own here
            if "timed out during startup" not in str(error) or attempt == NUM_STARTS:
                raise
            ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Gives SIGTERM back to whoever had it.

    `ray.init` (Ray 2.60) takes it, to exit with 15; `ray.shutdown` puts the kernel's default in its place, which Python
    does not notice.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as exited:
        signal.signal(signal.SIGTERM, before)
        if exited.code == signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def running_cluster(environ: Mapping[str, str]) -> str | None:
    """The address of the cluster to join; None where there is none to join.

    Asked here and not by Ray, which waits for minutes for a cluster that has gone.
    """
    named = environ.get("RAY_ADDRESS", "")
    if named and named not in ("auto", "local"):
        if not _answers(named):
            raise UserError(f"RAY_ADDRESS={named} does not answer; start that cluster, or unset RAY_ADDRESS")
        return named
    recorded = recorded_cluster(environ)
    return recorded if named != "local" and recorded and _answers(recorded) else None


def ray_folder(environ: Mapping[str, str]) -> Path:
    """Where Ray keeps its sessions."""
    return Path(environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or "/tmp") / "ray"


def recorded_cluster(environ: Mapping[str, str]) -> str | None:
    """The address that the last `ray start` of this machine left; it may have gone since."""
    record = ray_folder(environ) / "ray_current_cluster"
    return record.read_text().strip() or None if record.is_file() else None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True
