"""The methods by name. A new one is a new file in rollout/search/ and a line here."""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rollout.search.beam import DVTS, AdaptiveBeam, BeamSearch
from rollout.search.best_of import BestOfN, BestOfOutcome
from rollout.search.deepconf import DeepConf
from rollout.search.deepconf_online import DeepConfOnline
from rollout.search.plain import Greedy, Temperature
from rollout.search.power import PowerSampling
from rollout.search.smc import PowerSMC
from rollout.search.step_best_of import AdaptiveBestOfN, PRMBestOfN
from rollout.search.types import Outcome, Path, SearchMethod
from rollout.search.vote import MajorityVote, VoteOutcome

STEPWISE: dict[str, type] = {
    "prm_best_of_n": PRMBestOfN,
    "adaptive_best_of_n": AdaptiveBestOfN,
    "prm_beam": BeamSearch,
    "adaptive_beam": AdaptiveBeam,
    "dvts": DVTS,
}
"""Those that look at every step by a process reward model."""
METHODS: dict[str, type] = {
    "greedy": Greedy,
    "temperature": Temperature,
    "best_of_n": BestOfN,
    "vote": MajorityVote,
    "deepconf_offline": DeepConf,
    "deepconf_online": DeepConfOnline,
    "power": PowerSampling,
    "power_smc": PowerSMC,
    **STEPWISE,
}
NUM_CANDIDATES, TEMPERATURE, MAX_NEW_TOKENS = "num_candidates", "temperature", "max_new_tokens"
COMMON = {NUM_CANDIDATES: "num_samples", TEMPERATURE: "temperature", MAX_NEW_TOKENS: "max_new_tokens"}
"""Settings of methods that a config says for all of them alike, and the keys that say them."""


@dataclass(frozen=True)
class Method:
    """A way to sample, and how often a question is put to it."""

    search: SearchMethod
    num_tasks: int
    """Results of a question that do not depend on each other."""


def make_method(name: str, params: dict[str, Any], num_samples: int, temperature: float, max_new_tokens: int) -> Method:
    """The method called `name`.

    num_samples: candidates of a method that chooses, results of any other. Raises ValueError for an unknown name or
    parameter, with the nearest match, and for values that do not go together.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is not a way to sample{_instead(name, list(METHODS))}")
    fields = [field.name for field in dataclasses.fields(METHODS[name])]
    _require_known(name, params, fields)
    _require_sense(name, fields, num_samples, temperature)
    common = {NUM_CANDIDATES: num_samples, TEMPERATURE: temperature, MAX_NEW_TOKENS: max_new_tokens}
    try:
        search = METHODS[name](**{key: value for key, value in common.items() if key in fields}, **params)
    except TypeError as error:
        raise ValueError(f"params of method {name}: a value is of the wrong type ({error})") from error
    _require_voters(search)
    return Method(search, 1 if NUM_CANDIDATES in fields else num_samples)


def require_prm(method: str, prm: str) -> None:
    """Nothing; raises ValueError where a method needs a process reward model and has none, or the other way round."""
    if method in STEPWISE and not prm:
        raise ValueError(
            f"prm must be the path of a process reward model for {method}, got an empty text; "
            "`zerokl train-prm` makes one"
        )
    if prm and method in METHODS and method not in STEPWISE:
        raise ValueError(f"method {method} looks at no process reward model, got prm={prm}; leave it out")


def completions_of(outcome: Outcome) -> tuple[tuple[Path, ...], int]:
    """The completions that a method looked at in the end, and which of them it answers with."""
    if isinstance(outcome, VoteOutcome):
        return outcome.candidates, outcome.ballot.voter
    if isinstance(outcome, BestOfOutcome):
        return outcome.candidates, outcome.candidates.index(outcome.path)
    return (outcome.path,), 0


def _require_known(name: str, params: dict[str, Any], fields: Sequence[str]) -> None:
    own = [field for field in fields if field not in COMMON]
    for key in params:
        if key in COMMON:
            raise ValueError(f"params.{key} is said by {COMMON[key]}, for every method alike; take it out of params")
        if key not in own:
            raise ValueError(f"params.{key} is not a parameter of {name}{_instead(key, own)}")


def _require_sense(name: str, fields: Sequence[str], num_samples: int, temperature: float) -> None:
    if TEMPERATURE not in fields and temperature != 1:
        raise ValueError(
            f"method {name} draws at no temperature of its own, got temperature={temperature}; leave it at 1"
        )
    if name == "greedy" and num_samples != 1:
        raise ValueError(f"greedy samples of a question are all the same, got num_samples={num_samples}; set it to 1")


def _require_voters(search: SearchMethod) -> None:
    if isinstance(search, DeepConf | DeepConfOnline) and search.num_voters < 2:
        raise ValueError(
            f"params.keep_percent={search.keep_percent:g} leaves a vote to one trace alone; keep more, or draw more: "
            "num_samples, or params.num_warmup online"
        )


def _instead(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known) or 'none'}"
