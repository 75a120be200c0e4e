"""What the interpreter cannot show and a compiler can: the kernels are valid for a GPU, and what they are made of."""

import pytest

from .compile_reports import SHARED_BYTES, found, report_of

NAMES = ["cache", "key gradients", "merge", "partials", "partials fp32", "query gradients", "sum of uses"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of("compile_attention.py", tmp_path_factory.mktemp("cache"))


def test_every_kernel_compiles_for_a_gpu_and_fits_it(report):
    assert sorted(report) == NAMES
    assert all(entry["shared_bytes"] <= SHARED_BYTES for entry in report.values())


def test_nothing_is_added_atomically_and_no_tf32_is_used(report):
    for name in NAMES:
        assert found(report, name, r"ld\.|st\.|cp\.")  # the walk over the instructions sees some
        assert found(report, name, r"atom|red\.|.*tf32") == []


def test_bf16_products_are_tensor_core_ones_and_fp32_products_fused_multiply_adds(report):
    for name in ("partials", "query gradients", "key gradients"):
        assert found(report, name, r"w?g?mma\..*f32\.bf16\.bf16")
    assert found(report, "partials fp32", r"w?g?mma\.") == []
    assert found(report, "partials fp32", r"fma\.rn\.f32")


def test_outside_of_products_no_product_and_sum_are_contracted(report):
    # `merge` takes a logarithm, which is made of fused multiply-adds.
    for name in ("partials", "query gradients", "key gradients", "sum of uses"):
        assert found(report, name, r"fma\.") == []
