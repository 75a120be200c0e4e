"""Where a run can be watched. A tracker that fails is switched off; it never stops training."""

import dataclasses
import logging
import netrc
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

from rl.config import Config, TrackingConfig
from rl.durable import write_atomically
from rl.records import SampleRollout
from rl.run_folder import RUN_ID_FILE, RunFolder

logger = logging.getLogger(__name__)

SAMPLES_KEY = "rollout/samples"
GIB = 2**30


class TrackedConfig(Protocol):
    """The settings of any kind of run: a dataclass with these among its fields."""

    @property
    def tracker(self) -> str: ...

    @property
    def tracking(self) -> TrackingConfig: ...


class EndedRun(Protocol):
    """The summary of any kind of run."""

    @property
    def run_dir(self) -> Path: ...

    @property
    def steps(self) -> int: ...

    @property
    def final_hash(self) -> str: ...

    @property
    def off_policy(self) -> str: ...

    def figures(self) -> dict[str, float]:
        """By name, as a tracker shows them."""


class Tracker(Protocol):
    """What the loop tells whoever is watching. No method raises."""

    def start(self, config: TrackedConfig, folder: RunFolder, attempt: int) -> None:
        """Open the run, or go on with the one begun in `folder`, whose start number `attempt` this is, from 1."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show what was measured at `step`; keys are `area/name`."""

    def log_samples(self, step: int, samples: Sequence[SampleRollout]) -> None:
        """Show some rollouts of `step`."""

    def finish(self, summary: EndedRun, contract: str) -> None:
        """File the ledger and the final model, and close the run with its figures.

        contract: digest of what decided the bits.
        """

    def leave(self) -> None:
        """Close the attempt; the run will go on in another."""


class NullTracker:
    """`tracker: none`."""

    def start(self, config: TrackedConfig, folder: RunFolder, attempt: int) -> None: ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def log_samples(self, step: int, samples: Sequence[SampleRollout]) -> None: ...

    def finish(self, summary: EndedRun, contract: str) -> None: ...

    def leave(self) -> None: ...


class WandbTracker:
    """`tracker: wandb`. Offline when nobody is logged in; what it keeps lies in the run's folder.

    A run that cannot be opened or logged to is left alone from then on. Samples and artifacts are extras: one that
    fails is given up by itself.
    """

    def __init__(self) -> None:
        self._run: _WandbRun | None = None
        self._given_up: set[str] = set()

    def start(self, config: TrackedConfig, folder: RunFolder, attempt: int) -> None:
        try:
            self._run = _WandbRun(config, folder.path, attempt)
        except Exception as error:
            _warn("start", error)
        self._guarded("catch up", lambda run: run.catch_up(folder))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._guarded("log", lambda run: run.log(step, metrics))

    def log_samples(self, step: int, samples: Sequence[SampleRollout]) -> None:
        self._guarded("log samples", lambda run: run.log_samples(step, samples), is_extra=True)

    def finish(self, summary: EndedRun, contract: str) -> None:
        if self._run is None:
            return
        folder = RunFolder(summary.run_dir)
        about = identity(summary, contract)
        deadline = time.monotonic() + self._run.tracking.upload_timeout_s
        self._guarded("file the ledger", lambda run: run.file_ledger(folder, about, deadline), is_extra=True)
        if self._run.tracking.log_model:
            self._guarded("file the model", lambda run: run.file_model(folder, about, deadline), is_extra=True)
        self._guarded("finish", lambda run: run.finish(about | summary.figures()))

    def leave(self) -> None:
        self._guarded("finish", lambda run: run.finish({}))

    def _guarded(self, doing: str, call: Callable[["_WandbRun"], object], is_extra: bool = False) -> None:
        if self._run is None or doing in self._given_up:
            return
        try:
            call(self._run)
        except Exception as error:
            if is_extra:
                self._given_up.add(doing)
            else:
                self._run = None
            _warn(doing, error)


class _WandbRun:
    """A run that W&B has open. Anything may raise."""

    def __init__(self, config: TrackedConfig, run_dir: Path, attempt: int) -> None:
        # Here and not above: the import takes a second, and can fail, on machines that track nothing.
        import wandb

        # Tables wait there for their upload; by default in the user's home, which may be full or read-only.
        os.environ.setdefault("WANDB_DATA_DIR", str((run_dir / "wandb").resolve()))
        self.tracking = config.tracking
        self._wandb: Any = wandb
        self._run: Any = self._wandb.init(**_init_arguments(config, run_dir), settings=wandb.Settings(**_SETTINGS))
        self._run.summary.update({"attempt": attempt})
        self._before = self._run.step
        """W&B has what was measured at earlier steps. Offline it is 0: an attempt begins with all of it."""
        self._logged: dict[str, int] = {}
        self._reward_names = _reward_names(config)
        # Each log adds its rows to the one table that W&B shows, and uploads only them.
        self._table: Any = self._wandb.Table(columns=samples_columns(self._reward_names), log_mode="INCREMENTAL")
        if not self._run.resumed:
            # wandb 0.31 numbers the parts of a table only after it has named the first, `None-…` (`get_entry_name` in
            # `wandb.sdk.internal.incremental_table_util`). Remove when that is mended.
            self._table._increment_num = 0

    def catch_up(self, folder: RunFolder) -> None:
        """Logs what earlier attempts measured and W&B does not have."""
        for line in folder.read_metrics():
            self.log(int(line["step"]), {name: value for name, value in line.items() if name != "step"})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._is_new(step, next(iter(metrics), "")):
            self._run.log(dict(metrics), step=step)

    def log_samples(self, step: int, samples: Sequence[SampleRollout]) -> None:
        if not self._is_new(step, SAMPLES_KEY):
            return
        for sample in samples:
            self._table.add_data(*samples_row(step, sample, self._reward_names))
        self._run.log({SAMPLES_KEY: self._table}, step=step)

    def _is_new(self, step: int, kind: str) -> bool:
        """Whether W&B does not have this kind of value of `step`: what it had before a rewind stays as it is."""
        if step < self._before or step <= self._logged.get(kind, -1):
            return False
        self._logged[kind] = step
        return True

    def file_ledger(self, folder: RunFolder, about: Mapping[str, Any], deadline: float) -> None:
        artifact = self._artifact("ledger", about)
        artifact.add_file(str(folder.ledger_path.resolve()), **_NOT_COPIED)
        self._upload(artifact, deadline)

    def file_model(self, folder: RunFolder, about: Mapping[str, Any], deadline: float) -> None:
        """Files the weights, or, where they are larger than the config wants to upload, where they lie."""
        artifact = self._artifact("model", about)
        files = sorted(path for path in folder.model_dir.resolve().rglob("*") if path.is_file())
        fits = sum(path.stat().st_size for path in files) <= self.tracking.max_model_gib * GIB
        for path in files:
            name = str(path.relative_to(folder.model_dir.resolve()))
            if fits:
                artifact.add_file(str(path), name, **_NOT_COPIED)
            else:
                artifact.add_reference(path.as_uri(), name)
        self._upload(artifact, deadline)

    def finish(self, figures: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(figures))
        self._run.finish()

    def _artifact(self, kind: str, about: Mapping[str, Any]) -> Any:
        return self._wandb.Artifact(f"{kind}-{self._run.id}", type=kind, metadata=dict(about))

    def _upload(self, artifact: Any, deadline: float) -> None:
        """Nothing; raises what W&B says against the artifact, or when it has not all of it by `deadline`."""
        logged = self._run.log_artifact(artifact)
        if not self._run.offline:
            logged.wait(timeout=max(1.0, deadline - time.monotonic()))


_NOT_COPIED: dict[str, Any] = {"policy": "immutable", "skip_cache": True}
"""Added to an artifact, the run's own files are what is uploaded."""

_SETTINGS: dict[str, Any] = {
    "console": "off",
    "quiet": True,
    "silent": True,
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "init_timeout": 30,
    # The default waits for as long as the network is away.
    "finish_timeout": 60,
}


def _reward_names(config: TrackedConfig) -> list[str]:
    """The reward functions of an RL run; other kinds have none."""
    return [function.name for function in config.reward.functions] if isinstance(config, Config) else []


def _init_arguments(config: TrackedConfig, run_dir: Path) -> dict[str, Any]:
    """How the run is filed: under the same id each time it is resumed."""
    return _filing(config.tracking, run_dir) | {"config": dataclasses.asdict(cast(Any, config))}


def _filing(tracking: TrackingConfig, run_dir: Path) -> dict[str, Any]:
    """Where and under which name; the id is kept in the folder."""
    return {
        "project": tracking.project,
        "group": tracking.group or None,
        "name": tracking.name or run_dir.resolve().name,
        "tags": list(tracking.tags),
        "dir": str(run_dir),
        "id": run_id(run_dir),
        "resume": "allow",
        "mode": wandb_mode(os.environ),
    }


def _warn(doing: str, error: Exception) -> None:
    logger.warning("wandb failed to %s (%s: %s); the run goes on without it", doing, type(error).__name__, error)


@dataclasses.dataclass(frozen=True)
class TrackedReport:
    """A report that is filed as a run of its own."""

    run_dir: Path
    tracking: TrackingConfig
    config: Mapping[str, Any]
    """The settings it was made with."""
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    """A table, a value a column."""
    images: Mapping[str, Path]
    """Files by key."""
    figures: Mapping[str, Any]
    """What stands in the run's summary."""


def log_report(report: TrackedReport) -> None:
    """File `report`; under the same id when it is filed again. Never raises."""
    try:
        _log_report(report)
    except Exception as error:
        _warn("file the report", error)


def _log_report(report: TrackedReport) -> None:
    import wandb as wandb_module

    wandb: Any = wandb_module
    os.environ.setdefault("WANDB_DATA_DIR", str((report.run_dir / "wandb").resolve()))
    arguments = _filing(report.tracking, report.run_dir) | {"config": dict(report.config)}
    run = wandb.init(**arguments, settings=wandb.Settings(**_SETTINGS))
    table = wandb.Table(columns=list(report.columns), data=[list(row) for row in report.rows])
    run.log({"report/arms": table, **{key: wandb.Image(str(path)) for key, path in report.images.items()}})
    run.summary.update(dict(report.figures))
    run.finish()


@contextmanager
def started_tracker(config: TrackedConfig, folder: RunFolder, attempt: int) -> Iterator[Tracker]:
    """The tracker that `config.tracker` names, started. A block that is interrupted closes the attempt."""
    tracker = make_tracker(config)
    tracker.start(config, folder, attempt)
    try:
        yield tracker
    except KeyboardInterrupt:
        tracker.leave()
        raise


def make_tracker(config: TrackedConfig) -> Tracker:
    """Return the tracker that `config.tracker` names."""
    return WandbTracker() if config.tracker == "wandb" else NullTracker()


def run_id(run_dir: Path) -> str:
    """Return W&B's id of the run in `run_dir`, made and kept there the first time, so that a resumed run reuses it."""
    path = run_dir / RUN_ID_FILE
    if not path.exists():
        write_atomically(path, uuid.uuid4().hex[:8])
    return path.read_text().strip()


def samples_columns(reward_names: Sequence[str]) -> list[str]:
    """Return the columns of the table of sample rollouts."""
    rewards = [f"reward/{name}" for name in reward_names]
    return [
        "step",
        "shown_as",
        "prompt_id",
        "prompt",
        "completion",
        "reward",
        *rewards,
        "advantage",
        "length",
        "truncated",
    ]


def samples_row(step: int, sample: SampleRollout, reward_names: Sequence[str]) -> list[Any]:
    """Return `sample` in the order of `samples_columns`; None for a reward function that did not apply."""
    return [
        step,
        sample.shown_as,
        sample.prompt_id,
        sample.prompt,
        sample.completion,
        sample.reward,
        *(sample.components.get(name) for name in reward_names),
        sample.advantage,
        sample.length,
        sample.truncated,
    ]


def identity(summary: EndedRun, contract: str) -> dict[str, Any]:
    """Return what says which run an artifact is of; `off_policy` is empty where nothing was."""
    return {
        "final_hash": summary.final_hash,
        "contract": contract,
        "steps": summary.steps,
        "off_policy": summary.off_policy,
    }


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
