"""The way back when the trainer is lost: fresh ranks, the last checkpoint, the same weights everywhere, and on.

    work ── TrainerLost ──> restart the ranks ──> stand where the last checkpoint does ──> work

What is done again comes to the same bits. Lost rollout actors never get here: the pool replaces them by itself.
"""

from collections.abc import Callable
from typing import TypeVar

from rl.checkpoint import Position
from rl.trainer_group import TrainerLost
from rollout.remote import Patience

T = TypeVar("T")


class Recovery:
    """Brings a run back to its last good state, a bounded number of times without progress in between."""

    def __init__(
        self,
        restart: Callable[[], object],
        stand: Callable[[], Position],
        reached: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        """restart: gives the trainer fresh ranks. stand: brings trainer, engines and files to the last checkpoint, or
        to the beginning where there is none, and says where that is. reached: the last step in the ledger.
        """
        self._restart, self._stand, self._reached, self._say = restart, stand, reached, say

    def stand(self) -> Position:
        """Where the run stands. Raises TooManyLosses."""
        patience = Patience(self._say)
        while True:
            try:
                return self._stand()
            except TrainerLost as lost:
                patience.spend(lost)
                self._restart()

    def through(self, position: Position, work: Callable[[Position], T]) -> T:
        """`work(position)`, begun again from the last checkpoint whenever the trainer is lost.

        Raises TooManyLosses when that happens again and again and no step is reached that was not reached before.
        """
        patience, furthest = Patience(self._say), -1
        while True:
            try:
                return work(position)
            except TrainerLost as lost:
                if self._reached() > furthest:
                    patience.renew()
                furthest = max(furthest, self._reached())
                patience.spend(lost)
                self._restart()
                position = self.stand()
                self._say(f"the trainer is back; going on after step {position.step}")
