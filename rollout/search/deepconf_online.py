"""DeepConf online: traces that lose confidence are stopped, and sampling ends when the answer is clear.

Fu et al., "Deep Think with Confidence", arXiv 2508.15260, section 3.3 and algorithm 2:

    warm-up    num_warmup complete traces; threshold s = percentile 100 - eta of their lowest group confidences
    waves      further traces, drawn block by block; one whose group confidence comes below s is stopped and has no vote
    consensus  before each wave: stop when the leading answer has 95 % of the weight, or the traces are used up

Votes are weighted by lowest group confidence. A warm-up trace below s has no vote either: it would have been stopped.
All tasks that have not come to a consensus are in the same wave and block, so that a block is one call of the sampler.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rollout.extension import Scoring
from rollout.search import streams
from rollout.search.checks import horizons, require, require_at_least_one, require_blocks
from rollout.search.confidence import first_below, lowest_group, scaled_window
from rollout.search.deepconf import NUM_TOP, Traces, confident_vote
from rollout.search.drawing import Draw, Drawing, drawn_on
from rollout.search.meter import Meter
from rollout.search.plain import Candidates
from rollout.search.types import Extract, Path, SearchResult, Task, Tools
from rollout.search.vote import extractor


@dataclass(frozen=True, kw_only=True)
class DeepConfOnline(Candidates):
    """At most `num_candidates` traces a task, warm-up included."""

    num_candidates: int = 64
    num_warmup: int = 16
    wave_traces: int = 16
    """Traces begun between two looks at the vote."""
    keep_percent: float = 10.0
    """eta: share of the warm-up traces whose confidence reaches the threshold."""
    consensus: float = 0.95
    """Share of the weight at which the leading answer ends the sampling."""
    window_tokens: int | None = None
    """Tokens of a group; None scales the paper's 2048 down to short answers."""
    block_tokens: int = 64
    """Tokens between two looks at the confidence: up to so many are drawn in vain when a trace is stopped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_blocks(self.block_tokens, self.max_new_tokens)
        require_at_least_one(num_warmup=self.num_warmup, wave_traces=self.wave_traces, window_tokens=self.window)
        rule = f"at most the number of samples, {self.num_candidates}, which includes it"
        require(self.num_warmup <= self.num_candidates, "num_warmup", rule, self.num_warmup)
        require(0 < self.keep_percent <= 100, "keep_percent", "above 0 and at most 100", self.keep_percent)
        require(0 < self.consensus <= 1, "consensus", "above 0 and at most 1", self.consensus)

    @property
    def window(self) -> int:
        """Tokens of a group."""
        return scaled_window(self.max_new_tokens) if self.window_tokens is None else self.window_tokens

    @property
    def num_voters(self) -> int:
        """Warm-up traces that have a vote, where no two are equally confident."""
        return self.num_warmup - math.ceil((self.num_warmup - 1) * (100 - self.keep_percent) / 100)

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `ConfidentOutcome` per task. Raises ValueError where nothing extracts answers."""
        extract = extractor(tools)
        meter, size = Meter(tools.sampler, len(tasks)), self.num_candidates
        drawing = Drawing(tasks, tools, meter, self.temperature, size, Scoring(num_top=NUM_TOP))
        draw = drawing.under(lambda task, member: streams.plain_key(tools.seed, task, member, size))
        polls = self._warmed_up(tasks, extract, draw)
        while waiting := {i: poll for i, poll in enumerate(polls) if not self._is_settled(poll)}:
            for i, paths in self._wave(waiting, draw).items():
                polls[i] = polls[i].joined(paths, self.window, tasks[i], extract)
        return meter.result([confident_vote(i, task, polls[i].traces(), meter) for i, task in enumerate(tasks)])

    def _warmed_up(self, tasks: Sequence[Task], extract: Extract, draw: Draw) -> list["Poll"]:
        size, num = self.num_candidates, self.num_warmup
        chains = {task * size + member: Path() for task in range(len(tasks)) for member in range(num)}
        paths = list(drawn_on(chains, self.max_new_tokens, draw).values())
        return [self._poll(task, paths[i * num : (i + 1) * num], extract) for i, task in enumerate(tasks)]

    def _poll(self, task: Task, warmup: Sequence[Path], extract: Extract) -> "Poll":
        poll = Poll().joined(warmup, self.window, task, extract)
        return replace(poll, threshold=float(np.percentile(poll.lowest, 100 - self.keep_percent)))

    def _is_settled(self, poll: "Poll") -> bool:
        return len(poll.paths) >= self.num_candidates or poll.traces().ballot().share >= self.consensus

    def _wave(self, polls: Mapping[int, "Poll"], draw: Draw) -> dict[int, tuple[Path, ...]]:
        """The next traces of each poll, by its task."""
        size = self.num_candidates
        begun = {i: range(len(p.paths), min(len(p.paths) + self.wave_traces, size)) for i, p in polls.items()}
        going = {i * size + member: Path() for i, members in begun.items() for member in members}
        over: dict[int, Path] = {}
        for horizon in horizons(self.block_tokens, self.max_new_tokens):
            for chain, path in drawn_on(going, horizon, draw).items():
                stop = first_below(path.confidences, self.window, polls[chain // size].threshold)
                going[chain] = path if stop is None else path.cut(stop)
                if stop is not None or path.has_ended:
                    over[chain] = going.pop(chain)
        over |= going
        return {i: tuple(over[i * size + member] for member in members) for i, members in begun.items()}


@dataclass(frozen=True)
class Poll:
    """The traces of one task so far, in the order of their keys."""

    paths: tuple[Path, ...] = ()
    answers: tuple[str | None, ...] = ()
    lowest: tuple[float, ...] = ()
    """Lowest group confidence of each."""
    threshold: float = 0.0
    """What it must not come below."""

    def joined(self, paths: Sequence[Path], window: int, task: Task, extract: Extract) -> "Poll":
        """With further traces."""
        answers = tuple(extract(task.prompt, path.token_ids) for path in paths)
        lowest = tuple(lowest_group(path.confidences, window) for path in paths)
        return Poll((*self.paths, *paths), self.answers + answers, self.lowest + lowest, self.threshold)

    def traces(self) -> Traces:
        """The traces; those that stayed at the threshold or above have a vote."""
        has_vote = tuple(lowest >= self.threshold for lowest in self.lowest)
        return Traces(self.paths, self.answers, self.lowest, has_vote)
