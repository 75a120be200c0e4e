"""What can go wrong, sorted by whose move it is, and the exit status that says so."""

from collections.abc import Iterator
from contextlib import contextmanager

from kernels.certify import CertificationError
from kernels.contract import BrokenGuarantee
from reward.rubric import RewardError

__all__ = ["BrokenGuarantee", "ConfigError", "UserError", "bad_input", "exit_status", "root_cause"]

EXIT_OTHER = 1
EXIT_BAD_INPUT = 2
EXIT_BROKEN_GUARANTEE = 3


class UserError(ValueError):
    """Bad input: the message says the rule, the value and the remedy. Exit status 2."""


class ConfigError(UserError):
    """A config file or an override that cannot be run."""


def exit_status(error: BaseException) -> int:
    """Return the exit status for an error that ended a command."""
    error = root_cause(error)
    if isinstance(error, UserError | RewardError | CertificationError):
        return EXIT_BAD_INPUT
    if isinstance(error, BrokenGuarantee):
        return EXIT_BROKEN_GUARANTEE
    return EXIT_OTHER


def root_cause(error: BaseException) -> BaseException:
    """Return the error that a Ray actor raised, out of the `RayTaskError`s around it.

    Ray keeps the original in `.cause`; an error of this process comes back as it is.
    """
    while isinstance(cause := getattr(error, "cause", None), BaseException) and cause is not error:
        error = cause
    return error


@contextmanager
def bad_input() -> Iterator[None]:
    """Turn a `ValueError` inside the block, here or in a Ray actor, into a `UserError`: for what a config brings up."""
    try:
        yield
    except (UserError, RewardError):
        raise
    except ValueError as error:
        raise UserError(str(root_cause(error))) from error
