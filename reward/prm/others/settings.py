"""What has to be said of a PRM that others trained: a small YAML file, named where a PRM's folder would be.

```yaml
model: models/Qwen2.5-Math-PRM-7B
kind: token_classification
step_token: <extra_0>
```
"""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from reward.prm.nearest import nearest

KINDS = ("token_classification", "plus_minus")
FORMATS = ("chat", "plain", "turns")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class OtherPRM:
    """Raises ValueError for values that there are not."""

    model: str
    """Folder of the Hugging Face checkpoint, with its tokenizer."""
    kind: str
    """`token_classification`: two labels at every step token. `plus_minus`: a causal LM that says one of two tokens."""
    format: str = "chat"
    """`chat`: the chat template, all steps in one answer. `plain`: question and steps as text. `turns`: each step a
    turn of the user's, each judgement a turn of the model's, read where it is about to be given."""
    separator: str = "\n\n"
    """Text with which a step of the policy's ends."""
    step_token: str = "<extra_0>"
    """Text put behind every step, one token of the PRM's, at which it is read; `turns` has none."""
    between: str = ""
    """Text between a step token and the next step."""
    system_prompt: str = ""
    good: str = "+"
    """Token of a good step, as the vocabulary spells it; of `plus_minus`, which of `turns` is the turn itself."""
    bad: str = "-"
    good_label: int = 1
    """Of `token_classification`."""
    dtype: str = "bfloat16"
    device: str = "cpu"
    """`cpu` or `cuda`."""
    max_tokens: int = 8192
    """Of one forward pass, padding counted."""

    def __post_init__(self) -> None:
        for key, choices in (("kind", KINDS), ("format", FORMATS), ("dtype", DTYPES), ("device", ("cpu", "cuda"))):
            if getattr(self, key) not in choices:
                raise ValueError(f"{key} of a PRM must be {' or '.join(choices)}, got {getattr(self, key)!r}")
        if self.kind == "token_classification" and self.format == "turns":
            raise ValueError("format turns is for PRMs of kind plus_minus; token_classification reads step tokens")
        if self.good_label not in (0, 1):
            raise ValueError(f"good_label of a PRM must be 0 or 1, got {self.good_label}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens of a PRM must be at least 1, got {self.max_tokens}")


def read_other(path: Path) -> OtherPRM:
    """The settings in a YAML file. Raises ValueError naming the file and the key that is wrong."""
    import yaml

    try:
        read: Any = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML ({error})") from error
    if not isinstance(read, dict):
        raise ValueError(f"{path} must hold keys and values, such as model: some/folder")
    known = {field.name: type(field.default) if field.default is not MISSING else str for field in fields(OtherPRM)}
    for key, value in read.items():
        if key not in known:
            raise ValueError(f"{path} has an unknown key {key!r}{nearest(str(key), known)}; known: {', '.join(known)}")
        if type(value) is not known[key]:
            raise ValueError(f"{path}: {key} must be of type {known[key].__name__}, got {value!r}")
    missing = [name for name in ("model", "kind") if name not in read]
    if missing:
        raise ValueError(f"{path} does not say the PRM's {missing[0]}")
    try:
        return OtherPRM(**read)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
