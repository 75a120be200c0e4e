"""Shows findings as they come, a row of a table each."""

import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rl.doctor.finding import Finding, Verdict

STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.MEND: "bold red"}
WIDTH = 140
"""Columns where there is no terminal, and the most that are used of one."""


class Report:
    """A table that grows. Use it as a context: in a terminal a line below it says what is being looked at."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stdout, highlight=False)
        self._console.width = min(self._console.width, WIDTH) if self._console.is_terminal else WIDTH
        self._status = self._console.status("")
        self.findings: list[Finding] = []

    def __enter__(self) -> "Report":
        self._status.start()
        self._row(Text("looked at", "bold"), Text("found", "bold"), Text("", "bold"), Text("what to do", "bold"))
        return self

    def __exit__(self, *exception: object) -> None:
        self._status.stop()

    def looking_at(self, what: str) -> None:
        """Say what takes the time now."""
        self._status.update(what)

    def add(self, finding: Finding) -> None:
        """Show one more finding."""
        self.findings.append(finding)
        verdict = Text(finding.verdict, STYLES[finding.verdict])
        self._row(Text(finding.subject), Text(finding.found), verdict, Text(finding.remedy))

    def conclude(self) -> bool:
        """Show the count of each verdict; whether nothing has to be mended."""
        counts = {verdict: sum(f.verdict is verdict for f in self.findings) for verdict in Verdict}
        warnings = f"{counts[Verdict.WARN]} warning{'s' * (counts[Verdict.WARN] != 1)}"
        self._console.print(f"\n{counts[Verdict.MEND]} to mend, {warnings}, {counts[Verdict.OK]} ok")
        return counts[Verdict.MEND] == 0

    def _row(self, *cells: Text) -> None:
        # A table of its own, because rich prints one only when it is whole; fixed widths line them up.
        row = Table.grid(padding=(0, 2), expand=True)
        row.add_column(width=18)
        row.add_column(ratio=3, overflow="fold")
        row.add_column(width=4)
        row.add_column(ratio=2, overflow="fold")
        row.add_row(*cells)
        self._console.print(row)
