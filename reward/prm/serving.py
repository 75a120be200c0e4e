"""Opens a PRM by its path, whoever trained it: a folder that train-prm left, or a YAML file about somebody else's.

| path                        | what it is                                       |
|-----------------------------|--------------------------------------------------|
| a folder with `prm.json`    | a PRM of ours, see `reward.prm.model`            |
| the folder of its run       | the same: its `model` folder is taken            |
| a YAML file                 | one of others, see `reward.prm.others.settings`  |
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from reward.prm.model import SETTINGS_FILE
from reward.prm.others.reader import OtherReader
from reward.prm.others.settings import OtherPRM, read_other
from reward.prm.own import OwnModel, OwnReader, require_own
from reward.prm.scorer import BatchedStepScorer, Reader
from rollout.deadlines import WEIGHT_SUFFIXES, deadlines_of

logger = logging.getLogger(__name__)
MODEL_FOLDER = "model"
"""Inside a run's folder."""
CALIBRATION_FILE = "calibration.json"
"""Beside the weights: how well a PRM is calibrated. It decides no score."""
_YAML = (".yaml", ".yml")
_DECIDING = (*WEIGHT_SUFFIXES, ".json", ".jinja", ".model", ".tiktoken", ".txt")


class _Closable(Protocol):
    def close(self) -> None: ...


class OpenStepScorer(BatchedStepScorer):
    """A step scorer whose models run in Ray actors until it is closed."""

    def __init__(self, reader: Reader, pool: Any):
        super().__init__(reader, pool.read)
        self._pool: _Closable = pool

    def __enter__(self) -> "OpenStepScorer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing; ends the actors."""
        self._pool.close()


@dataclass(frozen=True)
class _Opened:
    """What a path turned out to be."""

    reader: Reader
    model_dir: Path
    make: Callable[[str], Any]
    """The model, in the process that calls it, from the dtype of the backbone."""
    num_gpus: int = 0


def check_prm(path: str, policy_tokenizer: Any) -> tuple[float, ...]:
    """The levels of the PRM at `path`. No weights are read and nothing is started.

    Raises ValueError where no PRM lies there, or one that cannot read the policy's solutions.
    """
    return _opened(path, policy_tokenizer).reader.levels


def prm_folder(path: str) -> Path:
    """Where the PRM's checkpoint lies, and what else is known of it. Raises ValueError where there is none."""
    return _own_folder(path) or Path(_other_settings(Path(path)).model)


def prm_files(path: str) -> list[Path]:
    """Every file that decides a bit of the PRM's scores. Raises ValueError where there is no PRM."""
    files = [f for f in prm_folder(path).iterdir() if f.suffix in _DECIDING and f.name != CALIBRATION_FILE]
    return sorted(files) if _own_folder(path) else sorted([*files, Path(path)])


def open_step_scorer(
    path: str,
    policy_tokenizer: Any,
    *,
    dtype: str = "auto",
    num_actors: int = 1,
    timeout_s: float = 300.0,
    say: Callable[[str], None] = logger.warning,
) -> OpenStepScorer:
    """The PRM at `path`, coming up in `num_actors` processes. Ray must be up. Raises ValueError as `check_prm` does.

    dtype: of a backbone of ours, `auto` the one it was trained in; a PRM of others has its own setting. timeout_s: the
    least that a call may take, see `rollout/deadlines.py`. say: told of every process that was lost.
    """
    from reward.prm.pool import ScorerPool  # here, for it brings Ray

    found = _opened(path, policy_tokenizer)
    deadlines = deadlines_of(timeout_s, found.model_dir)
    pool = ScorerPool(partial(found.make, dtype), num_actors, deadlines, say, found.num_gpus)
    return OpenStepScorer(found.reader, pool)


def _opened(path: str, policy_tokenizer: Any) -> _Opened:
    folder = _own_folder(path)
    if folder is None:
        return _of_others(Path(path), policy_tokenizer)
    settings, tokenizer = require_own(folder, policy_tokenizer)
    return _Opened(OwnReader(settings, tokenizer), folder, partial(OwnModel.load, folder.resolve()))


def _own_folder(path: str) -> Path | None:
    """The folder of a PRM of ours; None for a YAML file."""
    given = Path(path)
    if given.suffix in _YAML:
        return None
    folder = next((f for f in (given, given / MODEL_FOLDER) if (f / SETTINGS_FILE).is_file()), None)
    if folder is None:
        raise ValueError(
            f"prm {path!r} is no process reward model; give the folder that `zerokl train-prm` left, or a YAML file "
            "about a PRM of others"
        )
    return folder


def _of_others(path: Path, policy_tokenizer: Any) -> _Opened:
    from transformers import AutoTokenizer

    settings = _other_settings(path)
    reader = OtherReader(settings, AutoTokenizer.from_pretrained(settings.model), policy_tokenizer)
    make = partial(_load_other, replace(settings, model=str(Path(settings.model).resolve())))
    return _Opened(reader, Path(settings.model), make, int(settings.device == "cuda"))


def _other_settings(path: Path) -> OtherPRM:
    settings = read_other(path)
    if not (Path(settings.model) / "config.json").is_file():
        raise ValueError(
            f"{path}: model {settings.model!r} is no folder with a Hugging Face checkpoint; download it first"
        )
    return settings


def _load_other(settings: OtherPRM, dtype: str) -> Any:
    """`dtype` is that of a backbone of ours; others have their own."""
    from reward.prm.others.models import OtherModel

    return OtherModel(settings)
