import json
from dataclasses import replace

from kernels.triton.check.findings import Bits, Ceilings, Certified, Error, Failure, Skipped, Timing
from kernels.triton.check.machine import Machine
from kernels.triton.check.report import Report, as_json, markdown, write

MACHINE = Machine("A Card", "9.0", 139.8, 132, "580.1", "13.0", "2.11.0", "3.6.0", "3.12.3")
CERTIFIED = Certified("tiny", "q, o", 32, 24, "bf16", "one block serves all")
SAME = Bits("linear q, o", "bf16", "row counts | positions", 1000, 0)
OTHER = replace(SAME, op="RMSNorm 24", differ=2)
ERROR = Error("RMSNorm", "bf16", "forward", 0.002, 2.0**-6)
TIMING = Timing("linear", "q, o 32 x 24", 64, 2e-5, "F.linear", 1e-5, 5e-6)
FAILURE = Failure("bits of RMSNorm", "RuntimeError: shared memory", "Traceback\n  line\n")
SKIPPED = Skipped("engine", "vllm is not installed")
WELL = [SKIPPED, CERTIFIED, SAME, ERROR, Ceilings(4e12, 8e14), TIMING]


def report(*findings):
    return Report(MACHINE, findings, 12.5)


def test_the_status_is_3_for_differing_bits_before_1_for_what_failed_and_0_when_all_is_well():
    assert report(*WELL).status == 0
    assert report(*WELL, FAILURE).status == 1
    assert report(*WELL, replace(ERROR, relative=0.5)).status == 1
    assert report(*WELL, replace(ERROR, relative=float("nan"))).status == 1
    assert report(*WELL, OTHER).status == 3
    assert report(*WELL, FAILURE, OTHER).status == 3
    assert report(*WELL, replace(CERTIFIED, verdict="refused")).status == 3


def test_a_check_that_compared_nothing_is_not_passed():
    assert report(CERTIFIED, TIMING, SKIPPED).status == 1


def test_the_verdict_counts():
    assert report(*WELL, OTHER, FAILURE).verdict == (
        "2,000 numbers compared, 2 differ; both blocks agree for 0 of 1 products, 0 refused; "
        "0 of 1 errors out of bounds; parts failed: 1, skipped: 1."
    )
    agreed, refused = (replace(CERTIFIED, verdict=verdict) for verdict in ("both blocks agree", "refused"))
    assert "for 1 of 3 products, 1 refused; " in report(agreed, CERTIFIED, refused).verdict


def test_both_files_are_written_and_hold_the_same(tmp_path):
    found = report(*WELL, FAILURE)
    write(found, tmp_path / "a" / "b")
    assert json.loads((tmp_path / "a/b/gpu-check.json").read_text()) == json.loads(json.dumps(as_json(found)))
    assert (tmp_path / "a/b/gpu-check.md").read_text() == markdown(found)


def test_json_holds_every_finding_whole_and_null_for_what_is_no_number():
    held = as_json(report(*WELL, FAILURE, replace(ERROR, relative=float("nan"))))
    assert (held["status"], held["seconds"], held["machine"]["driver"]) == (1, 12.5, "580.1")
    assert held["timing"] == [
        {
            "op": "linear", "case": "q, o 32 x 24", "rows": 64, "seconds": 2e-5, "peer": "F.linear", "peer_s": 1e-5,
            "floor_s": 5e-6,
        }
    ]  # fmt: skip
    assert [error["relative"] for error in held["error"]] == [0.002, None]
    assert {name: len(held[name]) for name in ("certified", "bits", "ceilings", "failure", "skipped")} == {
        "certified": 1, "bits": 1, "ceilings": 1, "failure": 1, "skipped": 1,
    }  # fmt: skip


def test_markdown_has_a_line_for_every_finding():
    text = markdown(report(*WELL, FAILURE, replace(ERROR, relative=0.5)))
    for line in (
        "# The canonical ops on A Card",
        f"{report(*WELL, FAILURE, replace(ERROR, relative=0.5)).verdict} 12 s, exit status 1.",
        "| capability | 9.0 |",
        "| tiny | q, o | 32 x 24 | bf16 | one block serves all |",
        r"| linear q, o | bf16 | row counts \| positions | 1,000 | 0 |",
        "| RMSNorm | bf16 | forward | 2.00e-03 | 1.56e-02 |  |",
        "| RMSNorm | bf16 | forward | 5.00e-01 | 1.56e-02 | OUT OF BOUNDS |",
        "Ceilings measured here: copy 4 TB/s, bf16 product 800 TFLOP/s.",
        "| linear | q, o 32 x 24 | 64 | 20.0 | F.linear | 10.0 | 2.00 | 25% |",
        "| bits of RMSNorm | RuntimeError: shared memory |",
        "| engine | vllm is not installed |",
        "Traceback",
    ):
        assert any(row.startswith(line) for row in text.splitlines()), line


def test_sections_without_findings_are_left_out():
    text = markdown(report(SAME))
    assert "## Bits" in text
    assert "## Failed" not in text
    assert "## Speed" not in text
