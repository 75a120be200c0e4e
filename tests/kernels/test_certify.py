import os

import pytest
import torch

import kernels.certify
from kernels.certify import ROW_COUNTS, CertificationError, certify_linear, rows_are_independent
from kernels.linear import CANDIDATES, LinearPlan

FIRST, SECOND = LinearPlan("onednn", 1), LinearPlan("aten", 8)
SHAPES = [(6, 4), (10, 4)]


class Honest:
    """Stands in for `PackedWeight`: exact copies of one column, so rows cannot depend on each other."""

    def __init__(self, weight, plan):
        self.num_columns, self.plan = weight.shape[0], plan

    def __call__(self, x):
        return x[:, :1].repeat(1, self.num_columns)


def one_bit_off(out, row):
    """`out` with the last mantissa bit of one number flipped."""
    out.view({4: torch.int32, 2: torch.int16}[out.element_size()])[row, -1] ^= 1
    return out


def substitute(monkeypatch, flaw):
    """Makes the FIRST plan flawed: `flaw(out)` changes its result. All other plans are honest."""

    class Flawed(Honest):
        def __call__(self, x):
            out = super().__call__(x)
            return flaw(out) if self.plan == FIRST else out

    monkeypatch.setattr(kernels.certify, "PackedWeight", Flawed)


FLAWS = {
    "one_row_is_special": lambda out: one_bit_off(out, 0) if len(out) == 1 else out,
    "thirteen_rows_are_special": lambda out: one_bit_off(out, 5) if len(out) == 13 else out,
    "few_rows_are_special": lambda out: one_bit_off(out, 0) if len(out) < 8 else out,
    "many_rows_are_special": lambda out: one_bit_off(out, 5) if len(out) > 400 else out,
    "the_first_row_is_special": lambda out: one_bit_off(out, 0),
    "the_last_row_is_special": lambda out: one_bit_off(out, -1),
    "the_tenth_row_is_special": lambda out: one_bit_off(out, 9) if len(out) > 9 else out,
    "threads_matter": lambda out: one_bit_off(out, 0) if torch.get_num_threads() == 1 else out,
    "only_the_wide_shape": lambda out: one_bit_off(out, 0) if out.shape == (33, 10) else out,
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_batch_dependent_candidate_is_passed_over_for_the_next(flaw, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    substitute(monkeypatch, FLAWS[flaw])
    assert certify_linear(SHAPES, torch.float32, (FIRST, SECOND)) == SECOND


def test_the_first_candidate_is_taken_when_it_holds(monkeypatch):
    substitute(monkeypatch, lambda out: out)
    assert certify_linear(SHAPES, torch.float32, (FIRST, SECOND)) == FIRST


def test_a_candidate_that_has_no_kernel_for_the_dtype_is_passed_over(monkeypatch):
    class Missing(Honest):
        def __init__(self, weight, plan):
            super().__init__(weight, plan)
            if plan == FIRST:
                raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(kernels.certify, "PackedWeight", Missing)
    assert certify_linear(SHAPES, torch.bfloat16, (FIRST, SECOND)) == SECOND


def test_the_error_names_dtype_shapes_and_a_remedy_when_no_candidate_holds(monkeypatch):
    substitute(monkeypatch, FLAWS["one_row_is_special"])
    with pytest.raises(CertificationError) as caught:
        certify_linear([(10, 4), (6, 4), (10, 4)], torch.bfloat16, (FIRST,))
    assert "torch.bfloat16" in str(caught.value)
    assert "[(6, 4), (10, 4)]" in str(caught.value)
    assert "set trainer.dtype to float32" in str(caught.value)


def test_float32_is_no_remedy_for_float32(monkeypatch):
    substitute(monkeypatch, FLAWS["one_row_is_special"])
    with pytest.raises(CertificationError, match=r"torch.float32 .*; take another machine or another model$"):
        certify_linear(SHAPES, torch.float32, (FIRST,))


def test_one_bad_shape_is_enough_to_reject(monkeypatch):
    substitute(monkeypatch, FLAWS["only_the_wide_shape"])
    assert rows_are_independent(FIRST, (6, 4), torch.float32)
    assert not rows_are_independent(FIRST, (10, 4), torch.float32)


@pytest.mark.parametrize("flaw", ["threads_matter", "the_first_row_is_special"])
def test_the_number_of_threads_is_put_back(flaw, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    substitute(monkeypatch, FLAWS[flaw])
    before = torch.get_num_threads()
    certify_linear(SHAPES, torch.float32, (FIRST, SECOND))
    assert torch.get_num_threads() == before


def test_every_row_count_up_to_a_small_batch_is_tried():
    assert set(range(1, 18)) <= set(ROW_COUNTS)
    assert max(ROW_COUNTS) < kernels.certify.NUM_ROWS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_this_machine_has_a_candidate_that_holds(dtype):
    assert certify_linear([(48, 32)], dtype) in CANDIDATES
