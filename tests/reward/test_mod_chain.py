import re
from types import SimpleNamespace

import pytest

from reward.mod_chain import NAME, ModChain, draw_problem, params_problems, register, split_of
from reward.reasoning_gym import load_reasoning_gym, reasoning_gym_score


def worked_out(question: str) -> int:
    """From left to right, with nothing of the module under test."""
    chain, modulus = re.fullmatch(r"(\S+) mod (\d+) =", question).groups()
    first, *rest = re.findall(r"\d+|[+*-]", chain)
    value = int(first)
    for sign, operand in zip(rest[::2], rest[1::2], strict=True):
        value = eval(f"{value}{sign}{operand}")
    return value % int(modulus)


def test_answers_are_worked_out_from_left_to_right() -> None:
    problems = [draw_problem(ModChain(max_operands=6, modulus=7), f"k/{i}") for i in range(200)]
    assert [problem.answer for problem in problems] == [str(worked_out(problem.question)) for problem in problems]
    assert {problem.num_operands for problem in problems} == {2, 3, 4, 5, 6}
    assert {len(re.findall(r"\d+", p.question)) - 1 - p.num_operands for p in problems} == {0}


def test_nothing_is_multiplied_by_zero() -> None:
    params = ModChain(modulus=2, operators=["*"], min_operands=5, max_operands=5)
    assert {draw_problem(params, f"{i}").question[1:] for i in range(20)} == {"*1*1*1*1 mod 2 ="}


def test_a_key_names_its_problem() -> None:
    assert draw_problem(ModChain(), "0/train/3") == draw_problem(ModChain(), "0/train/3")
    assert len({draw_problem(ModChain(), f"0/train/{i}").question for i in range(100)}) > 90


def test_the_splits_have_no_problem_in_common_and_all_has_both() -> None:
    def questions(split: str) -> set[str]:
        params = ModChain(max_operands=3, modulus=5, split=split)
        return {draw_problem(params, f"{i}").question for i in range(500)}

    train, held_out, both = questions("train"), questions("held_out"), questions("all")
    assert not train & held_out and both & train and both & held_out
    assert {split_of(question.partition(" ")[0]) for question in held_out} == {"held_out"}
    assert 0.05 < len(both & held_out) / len(both) < 0.25


def test_a_split_without_problems_is_refused() -> None:
    params = ModChain(min_operands=1, max_operands=1, modulus=2, split="held_out")
    assert {split_of("0"), split_of("1")} == {"train"}
    with pytest.raises(ValueError, match="no held_out problems"):
        draw_problem(params, "0")


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"modulos": 3}, "has no parameter 'modulos'"),
        ({"split": "train"}, "has no parameter 'split'"),
        ({"min_operands": 9}, "from 1 to max_operands=8"),
        ({"modulus": 1}, "modulus must be at least 2, got 1"),
        ({"operators": ["/"]}, "operators must be some of"),
        ({"modulus": "seven"}, "data.params: "),
    ],
)
def test_what_is_wrong_with_parameters_is_said(params: dict, complaint: str) -> None:
    (problem,) = params_problems(params, "data.params", taken=("split",))
    assert complaint in problem


def test_right_parameters_are_left_alone() -> None:
    assert list(params_problems({"modulus": 5, "operators": ["+"], "split": "train"}, "data.params")) == []


def test_it_is_a_task_of_reasoning_gym_and_is_graded_as_one() -> None:
    gym = load_reasoning_gym()
    data = gym.create_dataset(NAME, modulus=13, seed=5, size=10)
    entry = data[3]
    assert entry == gym.create_dataset(NAME, modulus=13, seed=5, size=10)[3] != data[4]
    assert entry["answer"] == str(worked_out(entry["question"]))
    wrong = str((int(entry["answer"]) + 1) % 13)
    scores = reasoning_gym_score(["q"] * 2, [entry["answer"], wrong], task=[NAME] * 2, entry=[entry] * 2)
    assert scores == [1.0, 0.0]


def test_registering_again_changes_nothing() -> None:
    gym = load_reasoning_gym()
    before = gym.factory.DATASETS[NAME]
    register(gym)
    register(SimpleNamespace(factory=gym.factory))
    assert gym.factory.DATASETS[NAME] is before
