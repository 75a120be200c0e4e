"""What can be said about the kernels on a GPU without one: they compile, and what their instructions are."""

import pytest

from .compile_reports import SHARED_BYTES, found, report_of

NAMES = [
    *(f"product {block} {dtype}" for dtype in ("bf16", "fp32") for block in ("few", "many")),
    *("normalise", "whole row", "gradient", "norm forward", "norm backward", "sum of groups"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of("compile_for_cuda.py", tmp_path_factory.mktemp("cache"))


def test_every_kernel_compiles_for_a_gpu_and_fits_it(report):
    assert sorted(report) == sorted(NAMES)
    assert {name: entry["shared_bytes"] for name, entry in report.items() if entry["shared_bytes"] > SHARED_BYTES} == {}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_added_atomically_and_no_tf32_is_used(report, name):
    assert found(report, name, r"ld\.|st\.|cp\.")  # the walk over the instructions sees some
    assert found(report, name, r"atom|red\.|.*tf32") == []


def test_fp32_products_are_fused_multiply_adds_and_bf16_products_tensor_core_ones(report):
    for block in ("few", "many"):
        assert found(report, f"product {block} fp32", r"fma\.rn\.f32")
        assert found(report, f"product {block} fp32", r"w?g?mma\.") == []
        assert found(report, f"product {block} bf16", r"w?g?mma\..*f32\.bf16\.bf16")


@pytest.mark.parametrize("name", ["whole row", "gradient", "norm forward", "norm backward", "sum of groups"])
def test_no_product_and_sum_are_contracted_and_divisions_are_correctly_rounded(report, name):
    # `normalise` takes a logarithm, which is made of fused multiply-adds.
    assert found(report, name, r"fma\.rn\.f32|div\.(full|approx)|sqrt\.approx|rsqrt") == []
