"""The loss and the accuracy against what Hugging Face's own forward pass gives."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rl.pretrain.accuracy import ChainAccuracy
from rl.pretrain.examples import ChainBatches, held_out_problems
from rl.pretrain.next_token import NextToken
from rl.supervised.objective import Totals

from .models import DRAWS, PARAMS, TOKENIZER, canonical, made, plain

EXAMPLES = ChainBatches(PARAMS, TOKENIZER, seed=0, batch_size=6, loss_on="results").batch(1)
PROBLEMS = held_out_problems(PARAMS, TOKENIZER, seed=0, operands=[2, 3], num_problems=10)
SEED = 7


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    cache = tmp_path_factory.mktemp("models")
    return {kind: made(kind, cache) for kind in ("recurrent", "static")}


def logprobs(model, example, **depth) -> torch.Tensor:
    ids = torch.tensor([example.token_ids])
    scores = model(input_ids=ids[:, :-1], **depth).logits[0].log_softmax(-1)
    return scores[list(example.rows), list(example.targets)]


@pytest.mark.parametrize(("kind", "step"), [("static", 1), ("recurrent", 1), ("recurrent", 2)])
def test_the_shares_of_micro_batches_sum_to_the_mean_over_all_scored_tokens(folders, kind: str, step: int) -> None:
    objective = NextToken(DRAWS if kind == "recurrent" else None)
    totals = Totals(step, SEED, len(EXAMPLES), sum(map(objective.num_targets, EXAMPLES)))
    depth = {"num_recurrences": DRAWS.depth(SEED, step).num_recurrences} if kind == "recurrent" else {}
    reference, model = plain(folders[kind]), canonical(folders[kind])
    expected = -torch.cat([logprobs(reference, example, **depth) for example in EXAMPLES]).mean()
    found = sum(objective.loss(model, part, totals) for part in (EXAMPLES[:2], EXAMPLES[2:]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_steps_go_to_different_depths() -> None:
    assert DRAWS.depth(SEED, 1) != DRAWS.depth(SEED, 2)


def test_the_final_model_says_between_which_depths_it_was_trained(folders, tmp_path: Path) -> None:
    NextToken(DRAWS).save(canonical(folders["recurrent"]), tmp_path)
    assert plain(tmp_path).config.trained_recurrences == list(DRAWS.central_range())


def solved(model, problem, **depth) -> bool:
    (answer,) = problem.answer_ids
    return int(model(input_ids=torch.tensor([problem.question_ids]), **depth).logits[0, -1].argmax()) == answer


def test_accuracy_is_the_share_that_greedy_decoding_gets_right(folders) -> None:
    evaluation = ChainAccuracy(PROBLEMS, recurrences=(1, 3), default=3, every=0, max_tokens=30)
    reference = plain(folders["recurrent"])
    with torch.no_grad():
        figures = evaluation.measure(canonical(folders["recurrent"]))
        right = {r: [solved(reference, problem, num_recurrences=r) for problem in PROBLEMS] for r in (1, 3)}
    assert {name: value for name, value in figures.items() if name.startswith("accuracy/")} == {
        f"accuracy/n{n:02d}/r{r:02d}": sum(right[r][10 * (n - 2) : 10 * (n - 1)]) / 10 for n in (2, 3) for r in (1, 3)
    }
    assert figures["held_out/accuracy"] == sum(right[3]) / 20
    assert figures["held_out/low"] <= figures["held_out/accuracy"] <= figures["held_out/high"]


def test_a_model_without_depth_is_measured_once(folders) -> None:
    evaluation = ChainAccuracy(PROBLEMS, recurrences=(), default=0, every=0, max_tokens=1000)
    with torch.no_grad():
        figures = evaluation.measure(canonical(folders["static"]))
    assert {name for name in figures if name.startswith("accuracy/")} == {"accuracy/n02", "accuracy/n03"}
    assert evaluation.num_tokens == sum(len(p.question_ids) + 1 for p in PROBLEMS)


def test_an_answer_that_is_right_counts(folders) -> None:
    """With the answers that the model gives put in as the right ones."""
    model, reference = canonical(folders["static"]), plain(folders["static"])
    with torch.no_grad():
        given = [int(reference(input_ids=torch.tensor([p.question_ids])).logits[0, -1].argmax()) for p in PROBLEMS]
        taught = tuple(replace(p, answer_ids=(answer,)) for p, answer in zip(PROBLEMS, given, strict=True))
        figures = ChainAccuracy(taught, recurrences=(), default=0, every=0, max_tokens=1000).measure(model)
    assert figures["held_out/accuracy"] == 1.0
