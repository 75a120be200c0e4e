import dataclasses

from rl.types import StepRecord, SupervisedRecord
from rl.verification.difference import FLOW, OF_CONTRACT, compare_records, first_difference

RECORD = {name: "same" for name in FLOW} | {"step": 4}


def test_every_field_of_a_record_has_a_place_in_the_flow() -> None:
    names = {field.name for kind in (StepRecord, SupervisedRecord) for field in dataclasses.fields(kind)}
    assert sorted(FLOW) == sorted(names | {"prev", "hash"})


def test_equal_records_have_no_difference() -> None:
    assert compare_records(RECORD, dict(RECORD)) is None


def test_causes_come_before_effects() -> None:
    difference = compare_records(RECORD, RECORD | {"hash": "h", "gradient": "g", "tokens": "t"})
    assert difference is not None
    assert (difference.step, difference.fields, difference.values) == (4, ("tokens", "gradient", "hash"), ("same", "t"))


def test_a_field_that_only_one_record_has_is_a_difference() -> None:
    without = {name: value for name, value in RECORD.items() if name != "off_policy"}
    difference = compare_records(without, RECORD)
    assert difference is not None and (difference.field, difference.values) == ("off_policy", ("nothing", "same"))


def test_another_contract_can_be_left_out() -> None:
    assert compare_records(RECORD, RECORD | {"contract": "c", "prev": "p", "hash": "h"}, OF_CONTRACT) is None


def test_the_first_step_that_differs_counts_as_far_as_both_go() -> None:
    a = [RECORD | {"step": step} for step in (1, 2, 3)]
    b = [a[0], a[1] | {"rewards": "r"}, a[2] | {"tokens": "t"}]
    difference = first_difference(a, b)
    assert difference is not None and (difference.step, difference.field) == (2, "rewards")
    assert first_difference(a, b[:1]) is None
