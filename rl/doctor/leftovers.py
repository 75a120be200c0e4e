"""What earlier programs left behind, or still run: build locks, Ray sessions and clusters."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import platformdirs
import psutil

from rl.doctor.finding import Finding, mend, warn
from rl.doctor.sizes import GIB, gib

MAX_SESSIONS_BYTES = GIB
_SESSION = re.compile(r"session_\d[\w-]*")


def check_leftovers(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Findings on build locks and on Ray."""
    yield locks_finding(stale_locks(build_folders(environ)))
    running, folder = running_sessions(), ray_folder(environ)
    yield cluster_finding(running, environ.get("RAY_ADDRESS", ""), folder)
    yield sessions_finding(running, folder)


def build_folders(environ: Mapping[str, str]) -> list[Path]:
    """Where torch, DeepSpeed and triton keep what they compile on demand."""
    home = Path(environ.get("TRITON_HOME") or Path.home())
    extensions = environ.get("TORCH_EXTENSIONS_DIR")
    return [
        # torch.utils.cpp_extension and deepspeed.ops.op_builder read the same variable and have defaults of their own.
        Path(extensions) if extensions else platformdirs.user_cache_path("torch_extensions"),
        Path(extensions or "/tmp/torch_extensions"),
        Path(environ.get("TRITON_CACHE_DIR") or home / ".triton" / "cache"),
    ]


def ray_folder(environ: Mapping[str, str]) -> Path:
    """Where Ray keeps its sessions (as `ray._common.utils.get_default_ray_temp_dir`)."""
    return Path(environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or "/tmp") / "ray"


def stale_locks(folders: Iterable[Path]) -> list[Path]:
    """Lock files under `folders` that no process holds open.

    torch's `FileBaton` keeps its file open while it builds and deletes it afterwards. When the builder is killed the
    file stays, and every later build waits for it for ever.
    """
    locks = sorted({path for folder in folders for path in folder.rglob("lock") if path.is_file()})
    held = _open_files() if locks else set()
    return [path for path in locks if str(path.resolve()) not in held]


def locks_finding(stale: list[Path]) -> Finding:
    """A finding on build locks that nobody holds."""
    if not stale:
        return Finding("build locks", "none left behind by torch, DeepSpeed or triton")
    found = f"{len(stale)} left by a build that ended: whoever needs its result waits for ever"
    return mend("build locks", found, "rm " + " ".join(map(str, stale)))


def running_sessions() -> set[str]:
    """Names of the Ray sessions whose raylet runs on this machine."""
    lines = (" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["name", "cmdline"]) if _is_raylet(p))
    return {match.group() for line in lines if (match := _SESSION.search(line))}


def cluster_finding(running: set[str], address: str, folder: Path) -> Finding:
    """A finding on the cluster that a run would join. address: `RAY_ADDRESS`; folder: Ray's own."""
    if address == "local":
        return Finding("Ray cluster", "RAY_ADDRESS=local: a run starts its own and ends it")
    if address:
        return Finding("Ray cluster", f"RAY_ADDRESS={address} says which one a run joins")
    if running:
        found = f"{', '.join(sorted(running))} is up: a run joins it, runs in its Python and ends with it"
        return warn(
            "Ray cluster", found, "if it is not yours, RAY_ADDRESS=local keeps a run to itself; `ray stop` ends it"
        )
    recorded = folder / "ray_current_cluster"
    if recorded.is_file():
        found = f"{recorded} names {recorded.read_text().strip()}, and no Ray runs here: a run would wait for it"
        return mend("Ray cluster", found, "ray stop")
    return Finding("Ray cluster", "none is up; a run starts its own and ends it")


def sessions_finding(running: set[str], folder: Path) -> Finding:
    """A finding on the folders of sessions that ended: how many were killed, and what they take on the disk."""
    ended = [path for path in sorted(folder.glob("session_*")) if _SESSION.fullmatch(path.name)]
    ended = [path for path in ended if path.name not in running and not path.is_symlink()]
    killed = [path for path in ended if (path / "sockets" / "raylet").exists()]
    num_bytes = sum(_size(path) for path in ended)
    found = f"{len(ended)} that ended in {folder}, {gib(num_bytes)}; {len(killed)} of them killed, with sockets left"
    if not killed and num_bytes < MAX_SESSIONS_BYTES:
        return Finding("Ray sessions", found)
    return warn("Ray sessions", found, f"when no Ray runs: rm -r {folder}/session_*")


def _is_raylet(process: psutil.Process) -> bool:
    return bool(process.info["name"] == "raylet")  # process_iter puts `info` there


def _open_files() -> set[str]:
    """Paths of the files that processes hold open, as far as this user may see them."""
    return {file.path for p in psutil.process_iter(["open_files"]) for file in p.info["open_files"] or ()}


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
