"""`python -m rl` is `zerokl`."""

from rl.cli import app

app(prog_name="zerokl")
