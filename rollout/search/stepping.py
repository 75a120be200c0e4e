"""Draws solutions step by step: to where the step scorer's own rule says that a step has ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.extension import Continuation
from rollout.search.drawing import Cut, Draw, Drawing, KeyOf, drawn_on
from rollout.search.stepwise import StepScorer
from rollout.search.types import Path


@dataclass(frozen=True)
class Stepper:
    """Draws on by one step at a time, at most to `horizon` tokens.

    The engine pauses at every token that may end a step; where the rule says that none has ended, drawing goes on.
    """

    drawing: Drawing
    scorer: StepScorer
    horizon: int

    def drawn(self, paths: Mapping[int, Path], key_of: KeyOf) -> dict[int, Path]:
        """Every path, by its chain, with one more step: to its end, the stop token or the horizon."""
        draw, going, whole = self._pausing(key_of), dict(paths), {}
        while going:
            for chain, path in drawn_on(going, self.horizon, draw).items():
                going[chain] = path
                if self.is_done(path) or self._ends_a_step(path):
                    whole[chain] = going.pop(chain)
        return {chain: whole[chain] for chain in paths}

    def is_done(self, path: Path) -> bool:
        """Whether nothing can be drawn behind it."""
        return path.has_ended or len(path.token_ids) >= self.horizon

    def _ends_a_step(self, path: Path) -> bool:
        return self.scorer.step_ends(path.token_ids, False)[-1:] == (len(path.token_ids),)

    def _pausing(self, key_of: KeyOf) -> Draw:
        tools = self.drawing.tools
        stops = (*tools.stop_token_ids, *self.scorer.pause_token_ids)
        draw = replace(self.drawing, tools=replace(tools, stop_token_ids=stops)).under(key_of)

        def pausing(cuts: Sequence[Cut]) -> list[Continuation]:
            ends = tools.stop_token_ids
            return [replace(drawn, has_ended=drawn.token_ids[-1] in ends) for drawn in draw(cuts)]

        return pausing
