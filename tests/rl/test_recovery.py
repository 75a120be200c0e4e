import pytest

from rl.checkpoint import Position
from rl.recovery import Recovery
from rl.trainer_group import TrainerLost
from rollout import remote
from rollout.remote import TooManyLosses

BEGINNING = Position(0, 0, "", "", 0, 0.0)
EVERY = 5


class Run:
    """A run of so many steps whose trainer is lost before the steps in `losses`, once for each mention."""

    def __init__(self, losses=(), losses_while_standing=0) -> None:
        self.ledger, self.done, self.said, self.restarts = [], [], [], 0
        self.losses, self.losses_while_standing = list(losses), losses_while_standing

    def recovery(self) -> Recovery:
        return Recovery(self.restart, self.stand, lambda: len(self.ledger), self.said.append)

    def restart(self) -> None:
        self.restarts += 1

    def stand(self) -> Position:
        if self.losses_while_standing:
            self.losses_while_standing -= 1
            raise TrainerLost("trainer rank 0 was lost")
        step = len(self.ledger) // EVERY * EVERY
        del self.ledger[step:]
        return Position(step, step, "", "", 0, 0.0)

    def work(self, position: Position) -> int:
        assert position.step == len(self.ledger)
        for step in range(position.step + 1, 21):
            if step in self.losses:
                self.losses.remove(step)
                raise TrainerLost("trainer rank 0 was lost")
            self.ledger.append(step)
            self.done.append(step)
        return len(self.ledger)


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)


def test_a_run_that_loses_nothing_is_left_alone() -> None:
    run = Run()
    assert run.recovery().through(BEGINNING, run.work) == 20
    assert run.restarts == 0 and run.said == []


def test_after_a_loss_the_steps_since_the_last_checkpoint_are_done_again() -> None:
    run = Run(losses=[8])
    assert run.recovery().through(BEGINNING, run.work) == 20
    assert run.done == [*range(1, 8), *range(6, 21)]
    assert run.said == ["trainer rank 0 was lost; restarting, 1 of 3", "the trainer is back; going on after step 5"]


def test_losses_with_progress_between_them_are_no_reason_to_give_up() -> None:
    run = Run(losses=[2, 3, 4, 5, 6, 7, 8])
    assert run.recovery().through(BEGINNING, run.work) == 20
    assert run.restarts == 7


def test_a_step_that_always_loses_the_trainer_ends_the_run() -> None:
    run = Run(losses=[9] * 10)
    with pytest.raises(TooManyLosses, match="loss 4 in a row"):
        run.recovery().through(BEGINNING, run.work)
    assert run.restarts == 3


def test_a_loss_on_the_way_back_is_one_more_to_come_back_from() -> None:
    run = Run(losses=[8], losses_while_standing=2)
    assert run.recovery().through(BEGINNING, run.work) == 20
    assert run.restarts == 3


def test_any_other_error_ends_the_run_at_once() -> None:
    run = Run()
    with pytest.raises(ZeroDivisionError):
        run.recovery().through(BEGINNING, lambda position: position.step // 0)
    assert run.restarts == 0
