import pytest

from kernels.certify import CertificationError
from reward.rubric import RewardError
from rl.errors import BrokenGuarantee, ConfigError, UserError, exit_status


class RemoteError(Exception):
    """Stands for ray.exceptions.RayTaskError: the original is in `.cause`."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("raised in an actor")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("x"), 2),
        (ConfigError("x"), 2),
        (RewardError("x"), 2),
        (CertificationError("x"), 2),
        (BrokenGuarantee("x"), 3),
        (ValueError("x"), 1),
        (RuntimeError("x"), 1),
        (MemoryError(), 1),
    ],
)
def test_exit_status_tells_bad_input_from_a_broken_guarantee_from_the_rest(error: BaseException, status: int) -> None:
    assert exit_status(error) == status


def test_an_error_of_a_ray_actor_has_the_status_of_what_was_raised_there() -> None:
    assert exit_status(RemoteError(BrokenGuarantee("x"))) == 3
    assert exit_status(RemoteError(RemoteError(UserError("x")))) == 2
    assert exit_status(RemoteError(OSError("x"))) == 1


def test_rays_own_task_error_is_unwrapped() -> None:
    from ray.exceptions import RayTaskError

    assert exit_status(RayTaskError("step", "traceback", BrokenGuarantee("x"))) == 3


def test_bad_input_is_a_value_error() -> None:
    assert issubclass(UserError, ValueError) and issubclass(ConfigError, UserError)
