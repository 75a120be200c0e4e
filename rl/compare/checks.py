"""What a comparison must be, looked at before anything starts. Everything that is wrong is named at once."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rl.compare.config import CompareConfig, TaskConfig
from rl.compare.jobs import Job, folder_name, plan
from rl.compare.measures import SINGLE_SHOT
from rl.compare.models import checkpoint, training_run
from rl.compare.sampling import sample_config
from rl.config import Config, load_config
from rl.data.config import DataConfig, sources_of
from rl.errors import ConfigError, UserError
from rl.sample.config import INSTEAD, engine_problems, sampling_problems
from rl.sample.methods import STEPWISE

CHOOSES_AMONG = ("best_of_n", "vote", "deepconf_offline", "deepconf_online", *STEPWISE)
"""Methods that need more than one sample to do anything."""
_INSTEAD = {key: f"{other} of every {'task' if key == 'max_new_tokens' else 'arm'}" for key, other in INSTEAD.items()}
_CHOICES = {"dtype": ("auto", "bfloat16", "float32"), "tracker": ("wandb", "none")}


def check(config: CompareConfig) -> None:
    """Raise `ConfigError` listing everything that is wrong with `config`, a line each. No model is loaded."""
    problems = [
        *_choices(config),
        *engine_problems(config, _INSTEAD),
        *_names(config),
        *_base(config),
        *_ks(config),
        *_arms(config),
        *_samplings(config),
        *_training(config),
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _place(key: str, index: int, name: str) -> str:
    return f"{key}.{index} ({name})"


def _choices(config: CompareConfig) -> Iterator[str]:
    for key, choices in _CHOICES.items():
        if (value := getattr(config, key)) not in choices:
            yield f"{key} must be {' or '.join(choices)}, got {value!r}"
    if config.model.exit.measure:
        yield "model.exit is for `zerokl sample`; an arm goes as deep for one question as for another: take it out"
    if not config.model.path:
        yield "model.path must name the base model, got an empty text"
    if config.seed < 0:
        yield f"seed must be 0 or more, got {config.seed}"


def _names(config: CompareConfig) -> Iterator[str]:
    for key, entries in (("tasks", config.tasks), ("arms", config.arms)):
        if not entries:
            yield f"{key} must have at least one entry, got none"
        for name, count in Counter(folder_name(entry.name) for entry in entries).items():
            if not name:
                yield f"each of {key} needs a name with a letter or a digit in it"
            elif count > 1:
                yield f"{key}: {count} would lie in the folder {name!r}; give each a name of its own"


def _base(config: CompareConfig) -> Iterator[str]:
    found = [arm for arm in config.arms if arm.name == config.base]
    if not found:
        yield (
            f"base is {config.base!r}, and no arm is called so{_nearest(config.base, [a.name for a in config.arms])}; "
            "every arm is measured against one that samples the base model"
        )
    elif found[0].model:
        yield f"the base arm {config.base!r} must sample the base model, got model {found[0].model}; leave it out"
    elif found[0].method not in SINGLE_SHOT:
        yield f"the base arm {config.base!r} must use method {' or '.join(SINGLE_SHOT)}, got {found[0].method}"


def _ks(config: CompareConfig) -> Iterator[str]:
    num_samples = max((arm.num_samples for arm in config.arms if arm.name == config.base), default=0)
    for k in config.ks:
        if k < 1 or (num_samples and k > num_samples):
            yield (
                f"ks: pass@k needs k from 1 to the number of samples, got {k} with {num_samples} samples a question in "
                f"the base arm; raise its num_samples or leave {k} out"
            )


def _arms(config: CompareConfig) -> Iterator[str]:
    for index, arm in enumerate(config.arms):
        place = _place("arms", index, arm.name)
        if arm.method in CHOOSES_AMONG and arm.num_samples == 1:
            yield f"{place}: num_samples must be at least 2 for {arm.method}, got 1, which leaves no choice"
        try:
            checkpoint(arm.model)
        except UserError as error:
            yield f"{place}: model: {error}"


def _samplings(config: CompareConfig) -> Iterator[str]:
    """What `zerokl sample` would refuse, each problem once: of an arm, of a task, or of both together."""
    found: dict[str, list[Job]] = {}
    for job in plan(config):
        own = replace(job, arm=replace(job.arm, model=""))  # whether its checkpoint is there has been looked at
        for problem in sampling_problems(sample_config(config, own)):
            found.setdefault(problem, []).append(job)
    for problem, jobs in found.items():
        yield f"{_of(jobs, config)}: {problem}"


def _of(jobs: Sequence[Job], config: CompareConfig) -> str:
    """Whose problem it is: the tasks' where every arm has it, else the arms', on some tasks or on all."""
    arms = [_place("arms", i, arm.name) for i, arm in enumerate(config.arms) if any(job.arm is arm for job in jobs)]
    tasks = [_place("tasks", i, t.name) for i, t in enumerate(config.tasks) if any(job.task is t for job in jobs)]
    if len(arms) == len(config.arms) > 1:
        return ", ".join(tasks)
    return ", ".join(arms) if len(tasks) == len(config.tasks) else f"{', '.join(arms)} on {', '.join(tasks)}"


def _training(config: CompareConfig) -> Iterator[str]:
    """In-domain, the questions must be among those that the training of every arm held out."""
    for model in dict.fromkeys(arm.model for arm in config.arms if arm.model):
        if run := training_run(model):
            trained = load_config(run.config_path)
            for index, task in enumerate(config.tasks):
                if task.in_domain:
                    yield from _seen_in_training(_place("tasks", index, task.name), task, config.seed, model, trained)


def _seen_in_training(place: str, task: TaskConfig, seed: int, model: str, trained: Config) -> Iterator[str]:
    if _asked(task.data) != _asked(trained.data):
        yield (
            f"{place} is in-domain, and {model} was trained on other questions; "
            "give it the task and params of the run's config.yaml, or take in_domain out"
        )
    elif seed != trained.seed:
        yield (
            f"{place} is in-domain, and {model} was trained with seed {trained.seed}, here seed is {seed}: training "
            f"may have seen these questions; set seed={trained.seed}"
        )
    elif task.num_questions > trained.data.num_held_out:
        yield (
            f"{place}: num_questions must not be above the {trained.data.num_held_out} that {model} held out of "
            f"training, got {task.num_questions}"
        )


def _asked(data: DataConfig) -> Mapping[str, object]:
    return {key: vars(source) for key, source in sources_of(data).items()}


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
