"""Where a run can be watched. A tracker that fails is switched off; it never stops training."""

import dataclasses
import logging
import netrc
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from rl.config import Config

logger = logging.getLogger(__name__)

RUN_ID_FILE = "wandb_run_id"


class Tracker(Protocol):
    """What the loop tells whoever is watching. No method raises."""

    def start(self, config: Config, run_dir: Path) -> None:
        """Open the run, or go on with the one begun in `run_dir`."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show what was measured at `step`; keys are `area/name`."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close the run with its final figures."""


class NullTracker:
    """`tracker: none`."""

    def start(self, config: Config, run_dir: Path) -> None: ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def finish(self, summary: Mapping[str, Any]) -> None: ...


class WandbTracker:
    """`tracker: wandb`. Offline when nobody is logged in; what it keeps lies in the run's folder."""

    def __init__(self) -> None:
        self._run: Any = None
        self._failed = False

    def start(self, config: Config, run_dir: Path) -> None:
        self._guarded("start", lambda: self._start(config, run_dir))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._guarded("log", lambda: self._run.log(dict(metrics), step=step))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._guarded("finish", lambda: self._finish(summary))

    def _start(self, config: Config, run_dir: Path) -> None:
        # Here and not above: the import takes a second, and can fail, on machines that track nothing.
        import wandb

        tracking = config.tracking
        self._run = wandb.init(
            project=tracking.project,
            group=tracking.group or None,
            name=tracking.name or run_dir.resolve().name,
            tags=list(tracking.tags),
            config=dataclasses.asdict(config),
            dir=str(run_dir),
            id=run_id(run_dir),
            resume="allow",
            mode=wandb_mode(os.environ),
            settings=wandb.Settings(
                console="off",
                quiet=True,
                silent=True,
                save_code=False,
                disable_code=True,
                disable_git=True,
                init_timeout=30,
                # The default waits for as long as the network is away.
                finish_timeout=60,
            ),
        )

    def _finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()

    def _guarded(self, doing: str, call: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:
            self._failed = True
            logger.warning(
                "wandb failed to %s (%s: %s); training goes on without it", doing, type(error).__name__, error
            )


def make_tracker(config: Config) -> Tracker:
    """Return the tracker that `config.tracker` names."""
    return WandbTracker() if config.tracker == "wandb" else NullTracker()


def run_id(run_dir: Path) -> str:
    """Return W&B's id of the run in `run_dir`, made and kept there the first time, so that a resumed run reuses it."""
    path = run_dir / RUN_ID_FILE
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:8])
    return path.read_text().strip()


def wandb_mode(environ: Mapping[str, str]) -> Literal["online", "offline"] | None:
    """Return `online` where somebody is logged in, else `offline`; None leaves it to `WANDB_MODE`. Asks no network."""
    if environ.get("WANDB_MODE"):
        return None
    has_key = environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE") or _netrc_knows_wandb(environ)
    return "online" if has_key else "offline"


def _netrc_knows_wandb(environ: Mapping[str, str]) -> bool:
    """Return whether the file that `wandb login` writes to holds a key for the server in use."""
    host = urlsplit(environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    home = Path(environ.get("HOME", "~")).expanduser()
    path = Path(environ["NETRC"]).expanduser() if environ.get("NETRC") else home / ".netrc"
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
