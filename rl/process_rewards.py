"""The process rewards that a run's config asks for: looked at before anything starts, and brought up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reward.drift import read_reference
from reward.process import ProcessConfig
from rl.config import Config
from rl.credit import Credit, NoCredit, ProcessCredit
from rl.errors import UserError, bad_input
from rl.models import load_tokenizer


def require_process_rewards(process: ProcessConfig, model_dir: Path) -> None:
    """Nothing; raises ValueError for a PRM that is not there or is none, that reads other tokens than the policy's, or
    has not the level that is asked for."""
    if process.prm:
        from reward.prm.serving import check_prm, prm_folder  # here, for they bring torch

        _require_level(process, check_prm(process.prm, load_tokenizer(model_dir)))
        read_reference(prm_folder(process.prm))


@contextmanager
def step_credit(config: Config, model_dir: Path, say: Callable[[str], None]) -> Iterator[Credit]:
    """What credits the steps of a run. Ray must be up; leaving ends the PRM's actors.

    say: told of drift, and of actors that were lost.
    """
    process = config.reward.process
    if not process.prm:
        yield NoCredit()
        return
    from reward.prm.serving import open_step_scorer, prm_folder

    with bad_input():
        tokenizer, timeout_s = load_tokenizer(model_dir), config.trainer.timeout_s
        opened = open_step_scorer(process.prm, tokenizer, timeout_s=timeout_s, say=say)
    with opened as scorer:
        yield ProcessCredit(process, scorer, read_reference(prm_folder(process.prm)), say)


def _require_level(process: ProcessConfig, levels: tuple[float, ...]) -> None:
    if not levels[0] <= process.level <= levels[-1]:
        raise UserError(
            f"reward.process.level must lie between the lowest and the highest quantile of {process.prm}, "
            f"{levels[0]:g} and {levels[-1]:g}, got {process.level:g}"
        )
