"""The process reward models of a sampling, each up once, in actors of its own beside the engines."""

from contextlib import ExitStack
from typing import Any

from rl.errors import bad_input
from rollout.search.stepwise import StepScorer


def require_step_scorer(prm: str, tokenizer: Any) -> None:
    """Nothing; raises ValueError where no PRM lies at `prm`, or one that does not read the tokens of `tokenizer`.

    No weights are read. An empty path names none.
    """
    if prm:
        from reward.prm.serving import check_prm  # here, for it brings torch

        check_prm(prm, tokenizer)


class StepScorers:
    """Those that were asked for so far. Ray must be up; closing ends them."""

    def __init__(self, tokenizer: Any, timeout_s: float) -> None:
        """tokenizer: the policy's; timeout_s: how long one that says nothing is waited for."""
        self._tokenizer, self._timeout_s = tokenizer, timeout_s
        self._stack = ExitStack()
        self._open: dict[str, StepScorer] = {}

    def get(self, prm: str) -> StepScorer | None:
        """The one whose path is `prm`, started where it is not up yet; None for an empty path."""
        from reward.prm.serving import open_step_scorer

        if prm and prm not in self._open:
            with bad_input():
                scorer = open_step_scorer(prm, self._tokenizer, timeout_s=self._timeout_s)
            self._open[prm] = self._stack.enter_context(scorer)
        return self._open.get(prm)

    def close(self) -> None:
        """Ends all of them."""
        self._open.clear()
        self._stack.close()
