import json
import re
from pathlib import Path

import pytest

from rl.compare.charts import charts_of
from rl.compare.comparison import Comparison
from rl.compare.measures import Arm, ArmFigures
from rl.compare.page import render_page
from rl.compare.report import arm_fields, summary_json, write_report

from .arms import arm, question, samples, task

BASE = ArmFigures(
    Arm("base", "temperature", is_trained=False, training_tokens=0),
    samples([question(i, [i % 3 == 0, i % 2 == 0], 6) for i in range(40)]),
    (),
)
VOTE = arm("vote <8> & more", [True] * 24 + [False] * 16, tokens=16, method="vote")
RL = arm("rl", [True] * 36 + [False] * 4, method="temperature", trained=True)
COMPARED = Comparison("mine", "tiny:llama", (task(BASE, VOTE, RL), task(BASE, RL, name="legs", in_domain=False)))


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(COMPARED)


def test_an_entry_has_every_figure_of_an_arm() -> None:
    assert arm_fields(COMPARED.tasks[0], RL) == {
        "name": "rl",
        "task": "sums",
        "in_domain": True,
        "method": "temperature",
        "is_trained": True,
        "policy": "cd",
        "num_questions": 40,
        "num_answers": 1,
        "accuracy": 0.9,
        "confidence_interval": [RL.accuracy.low, RL.accuracy.high],
        "pass_at_k": {"1": {"value": 0.9, "low": RL.accuracy.low, "high": RL.accuracy.high, "method": "wilson"}},
        "sampled_tokens": 80,
        "tokens_per_answer": 2.0,
        "recurrence": None,
        "flops_per_token": None,
        "flops_per_answer": None,
        "scored_tokens": 0,
        "wall_s": 3.0,
        "training_tokens": 1000,
        "parse_rate": 1.0,
        "truncation_rate": 0.0,
        "distinct_answers": 1.0,
        "acceptance_rate": None,
        "realised_success": None,
    }


def test_the_summary_has_an_entry_an_arm_and_task_and_every_difference() -> None:
    found = json.loads(summary_json(COMPARED))
    assert [(entry["task"], entry["name"]) for entry in found["arms"]] == [
        ("sums", "base"), ("sums", "vote <8> & more"), ("sums", "rl"), ("legs", "base"), ("legs", "rl"),
    ]  # fmt: skip
    assert [(d["task"], d["arm"], d["less"]) for d in found["differences"]] == [
        ("sums", "vote <8> & more", "base"), ("sums", "rl", "base"), ("sums", "rl", "base"),
        ("sums", "rl", "vote <8> & more"), ("legs", "rl", "base"), ("legs", "rl", "base"),
    ]  # fmt: skip
    assert found["verdicts"][0]["equal_tokens"]["less"] == "vote <8> & more"
    assert found["verdicts"][0]["sentence"].startswith("sums (in-domain): ")


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http" not in without_namespaces and "<script" not in page and "<link" not in page
    assert not re.search(r"\bsrc=|url\((?!#)|@import", page)
    references = set(re.findall(r'xlink:href="#(\w+)"|url\(#(\w+)\)', page))
    assert references and all(f'id="{one or other}"' in page for one, other in references)


def test_the_page_has_a_drawing_for_every_chart_and_task_in_colours_of_its_own(page: str) -> None:
    assert page.count("<svg") == len(charts_of(COMPARED)) * len(COMPARED.tasks)
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--rl)" in drawings and "var(--sampling)" in drawings
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawings)) == set()


def test_what_a_config_calls_things_cannot_become_markup(page: str) -> None:
    assert "vote &lt;8&gt; &amp; more" in page and "<8>" not in page


def test_verdicts_stand_before_everything_else(page: str) -> None:
    first_figure = page.index("<svg")
    assert page.index("at no more tokens") < first_figure and page.index("can be told from nothing") < first_figure


def test_a_report_replaces_the_one_before_and_is_the_same_again(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "old.png").write_text("")
    write_report(COMPARED, folder)
    names = {"summary.json", "index.html", *(f"{chart.key}.png" for chart in charts_of(COMPARED))}
    assert {path.name for path in folder.iterdir()} == names
    assert all((folder / f"{chart.key}.png").read_bytes().startswith(b"\x89PNG") for chart in charts_of(COMPARED))
    assert (folder / "index.html").read_text() == render_page(COMPARED)
