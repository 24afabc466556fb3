"""Findings and their display in terminals and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

SEVERITIES = ("serious", "warning", "note")
"""serious: predictions cannot be trusted until it is fixed. warning: it costs accuracy
or makes scores look better than they are. note: good to know."""

WIDTH = 78


@dataclass(frozen=True)
class Finding:
    """One problem of a fit.

    name:     the kind of problem, as an identifier: "unscaled_inputs"
    severity: "serious", "warning" or "note"
    message:  what was observed and why it matters
    evidence: the numbers, by name
    fix:      the line of code that fixes it

    Example:
        >>> finding = kurve.diagnosis.Finding("overfitting", "warning", "It overfits.")
        >>> finding.severity
        'warning'
    """

    name: str
    severity: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""

    def __str__(self) -> str:
        import textwrap

        lines = [f"{self.severity}: {self.name}"]
        lines += textwrap.wrap(
            self.message, WIDTH, initial_indent="  ", subsequent_indent="  "
        )
        for label, text in self._parts():
            first, *rest = text.splitlines() or [""]
            lines.append(f"  {label} {first}")
            lines += [f"  {' ' * len(label)} {line}" for line in rest]
        return "\n".join(lines)

    def _parts(self) -> list[tuple[str, str]]:
        import textwrap

        shown = "; ".join(f"{name} {_number(v)}" for name, v in self.evidence.items())
        parts = [("Evidence:", textwrap.fill(shown, WIDTH - 10))] if shown else []
        return [*parts, ("Try:", self.fix)] if self.fix else parts


class Diagnosis(Sequence[Finding]):
    """The findings of `diagnose`, most serious first: a sequence that prints as a
    report, is false if nothing was found, and can be indexed by name:

        diagnosis[0], diagnosis["leakage"], "leakage" in diagnosis, len(diagnosis)

    findings: a tuple of them
    summary:  the model's performance on the data, in one line
    left_out: what was not checked and why

    Raises:
        KeyError: `diagnosis[name]` of a missing finding.

    Example:
        >>> finding = kurve.diagnosis.Finding("overfitting", "warning", "It overfits.")
        >>> diagnosis = kurve.diagnosis.Diagnosis((finding,))
        >>> "overfitting" in diagnosis, len(diagnosis)
        (True, 1)
    """

    def __init__(
        self,
        findings: Iterable[Finding],
        model: str = "model",
        summary: str = "",
        left_out: Iterable[str] = (),
    ) -> None:
        self.findings = tuple(
            sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
        )
        self.model, self.summary = model, summary
        self.left_out = tuple(left_out)

    @property
    def serious(self) -> tuple[Finding, ...]:
        """The findings that make predictions untrustworthy."""
        return tuple(f for f in self.findings if f.severity == "serious")

    def __len__(self) -> int:
        return len(self.findings)

    @overload
    def __getitem__(self, index: int | str) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding]: ...
    def __getitem__(self, index: int | str | slice) -> Finding | Sequence[Finding]:
        """The finding with that index or name, or a slice of them.

        Raises:
            KeyError: no finding has that name.
        """
        if isinstance(index, str):
            for finding in self.findings:
                if finding.name == index:
                    return finding
            raise KeyError(index)
        return self.findings[index]

    def __contains__(self, item: object) -> bool:
        return item in self.findings or any(f.name == item for f in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        names = ", ".join(f"{f.name} ({f.severity})" for f in self.findings)
        return f"<Diagnosis of {self.model}: {names or 'nothing found'}>"

    def __str__(self) -> str:
        parts = ["\n".join([self._title(), *([self.summary] if self.summary else [])])]
        parts += [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        parts += ["\n".join(self._not_checked())] if self.left_out else []
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        """The report for notebooks, without a style sheet or a background colour."""
        import html

        rows = [f"<b>{html.escape(self._title())}</b>"]
        if self.summary:
            rows.append(f"<div>{html.escape(self.summary)}</div>")
        for finding in self.findings:
            head = f"<b>{finding.severity}: {html.escape(finding.name)}</b>"
            rows.append(
                '<div style="margin:.6em 0;padding-left:.8em;'
                f'border-left:4px solid {_COLOURS[finding.severity]}">'
                f"{head}<br>{html.escape(finding.message)}"
            )
            for label, text in finding._parts():
                tag = "code" if label == "Try:" else "span"
                style = ' style="white-space:pre-wrap"' if label == "Try:" else ""
                rows.append(f"<br>{label} <{tag}{style}>{html.escape(text)}</{tag}>")
            rows.append("</div>")
        rows += [f"<div>{html.escape(line)}</div>" for line in self._not_checked()]
        return f'<div class="kurve-diagnosis">{"".join(rows)}</div>'

    def _title(self) -> str:
        counts = [
            (sum(f.severity == severity for f in self.findings), severity)
            for severity in SEVERITIES
        ]
        plural = {"serious": "serious", "warning": "warnings", "note": "notes"}
        numbers = ", ".join(
            f"{n} {severity if n == 1 else plural[severity]}"
            for n, severity in counts
            if n
        )
        return f'Diagnosis of "{self.model}": {numbers or "nothing found"}.'

    def _not_checked(self) -> list[str]:
        return [f"Not checked: {text}." for text in self.left_out]


_COLOURS = {"serious": "#d1495b", "warning": "#c9a227", "note": "#8a8f98"}


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_number(item) for item in value)
    return str(value)


def percent(fraction: float) -> str:
    """A fraction as a whole percentage, with more digits near 0 and 100."""
    value = 100.0 * fraction
    return f"{value:.0f} %" if 1.0 <= value <= 99.0 else f"{value:.3g} %"


def listing(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and the number of others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
