import dataclasses
from pathlib import Path

import pytest

from reward.mod_chain import ModChain, Problem, draw_problem
from rl.errors import UserError
from rl.models import load_tokenizer, resolve_model
from rl.pretrain.examples import ChainBatches, encoded, held_out_problems
from rl.pretrain.tokenizer import chain_tokenizer

PARAMS = ModChain(max_operands=4, modulus=7, split="train")
TOKENIZER = chain_tokenizer(PARAMS, 64)
BATCHES = ChainBatches(PARAMS, TOKENIZER, seed=3, batch_size=4, loss_on="answer")


def test_an_example_is_question_answer_and_end() -> None:
    problem = draw_problem(PARAMS, "3/train/5")
    example = BATCHES.batch(2)[1]
    expected = [*TOKENIZER.encode(problem.question + problem.answer), TOKENIZER.eos_token_id]
    assert list(example.token_ids) == expected
    assert (example.rows, list(example.targets)) == ((len(expected) - 3, len(expected) - 2), expected[-2:])


def test_the_loss_can_be_on_all_that_has_something_before_it() -> None:
    example = dataclasses.replace(BATCHES, loss_on="all").batch(2)[1]
    assert example.token_ids == BATCHES.batch(2)[1].token_ids
    assert example.rows == tuple(range(len(example.token_ids) - 1))
    assert example.targets == example.token_ids[1:]


def test_the_loss_can_be_on_the_result_behind_every_operand() -> None:
    problem = draw_problem(PARAMS, "3/train/5")
    example = dataclasses.replace(BATCHES, loss_on="results").batch(2)[1]
    (first, *rest), equals = problem.results, len(example.token_ids) - 3
    assert TOKENIZER.decode(example.token_ids[1]) == str(first)
    assert example.rows == (*range(1, 2 * len(problem.results), 2), equals, equals + 1)
    expected = [str(result) for result in (first, *rest, problem.results[-1])]
    assert [TOKENIZER.decode(target) for target in example.targets[:-1]] == expected


def test_results_need_a_token_for_each_number(tmp_path: Path) -> None:
    batches = dataclasses.replace(BATCHES, tokenizer=load_tokenizer(resolve_model("tiny:llama", tmp_path, seed=0)))
    with pytest.raises(UserError, match="data.loss_on=results needs a tokenizer with one token"):
        dataclasses.replace(batches, loss_on="results").batch(1)


def test_the_digest_tells_apart_what_decides_the_examples() -> None:
    changes = (
        {"seed": 4},
        {"batch_size": 8},
        {"loss_on": "all"},
        {"curriculum_steps": 1},
        {"loss_on": "results"},
        {"params": dataclasses.replace(PARAMS, max_operands=5)},
    )
    digests = {dataclasses.replace(BATCHES, **change).digest for change in changes}
    assert len(digests | {BATCHES.digest}) == 7
    assert dataclasses.replace(BATCHES).digest == BATCHES.digest


def test_a_curriculum_lets_problems_grow_step_by_step() -> None:
    batches = dataclasses.replace(BATCHES, batch_size=64, curriculum_steps=6)
    # A question has two tokens for each operand, and three besides.
    most = [max((len(example.token_ids) - 6) // 2 + 1 for example in batches.batch(step)) for step in range(1, 9)]
    assert most == [2, 2, 3, 3, 4, 4, 4, 4]
    assert batches.batch(7) == dataclasses.replace(batches, curriculum_steps=0).batch(7)


def test_held_out_problems_are_of_each_number_of_operands_and_of_their_split() -> None:
    params = dataclasses.replace(PARAMS, split="held_out")
    problems = held_out_problems(params, TOKENIZER, seed=0, operands=[3, 6], num_problems=5)
    assert [problem.num_operands for problem in problems] == [3] * 5 + [6] * 5
    assert [len(problem.question_ids) for problem in problems] == [9] * 5 + [15] * 5
    assert {len(problem.answer_ids) for problem in problems} == {1}
    asked = {problem.question_ids for problem in problems if problem.num_operands == 3}
    learned = {example.token_ids[:-2] for step in range(1, 200) for example in BATCHES.batch(step)}
    assert not asked & learned


def test_a_tokenizer_that_lacks_the_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="has no tokens for '1\\+9 mod 11 ='"):
        encoded([Problem("1+9 mod 11 =", (1, 10))], TOKENIZER)
