import pytest

from reward.prm.others.settings import OtherPRM, read_other


def written(tmp_path, text):
    path = tmp_path / "prm.yaml"
    path.write_text(text)
    return path


def test_a_file_says_what_differs_from_the_defaults(tmp_path):
    path = written(
        tmp_path, "model: some/folder\nkind: plus_minus\nformat: plain\nstep_token: ' ки'\nmax_tokens: 100\n"
    )
    expected = OtherPRM(model="some/folder", kind="plus_minus", format="plain", step_token=" ки", max_tokens=100)
    assert read_other(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just words", "must hold keys and values"),
        ("model: [a", "cannot be read as YAML"),
        ("kind: plus_minus", "does not say the PRM's model"),
        ("model: a", "does not say the PRM's kind"),
        ("model: a\nkind: plus_minus\nstep_tokn: b", "unknown key 'step_tokn', did you mean 'step_token'"),
        ("model: a\nkind: plus_minus\nmax_tokens: many", "max_tokens must be of type int, got 'many'"),
        ("model: a\nkind: generative", "kind of a PRM must be token_classification or plus_minus, got 'generative'"),
        ("model: a\nkind: token_classification\nformat: turns", "format turns is for PRMs of kind plus_minus"),
        ("model: a\nkind: plus_minus\ngood_label: 2", "good_label of a PRM must be 0 or 1, got 2"),
        ("model: a\nkind: plus_minus\nmax_tokens: 0", "at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"prm.yaml.*{message}"):
        read_other(written(tmp_path, text))
