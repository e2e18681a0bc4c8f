"""The "Does it reproduce?" table: a verdict is computed from a number and a stated criterion, never typed."""

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from IPython.display import Markdown, display

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CRITERION = re.compile(r"(<=|>=|<|>)\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_ROUNDING = 1e-6  # a criterion "< 1e-10" is about rounding: the measured digits differ from processor to processor


@dataclass(frozen=True)
class Claim:
    """One claim with the test it was put to.

    Parameters
    ----------
    statement : str
        The claim in our words, beginning with its label: ``"C1 least squares is the conditional mean"``.
    test : str
        What was measured, where, in which unit.
    measured : float, mapping of str to float, or None
        One number, several labelled ones, or None when it cannot be tested here; `test` then says why.
    criterion : str
        When the claim counts as reproduced: ``"< 1e-10"``, ``">= 0.5"``.

    Raises
    ------
    ValueError
        When the criterion is not a comparison with a number or a measured value is not finite.

    Examples
    --------
    >>> Claim("C1 smaller", "error rate", {"iris": 0.1, "wine": 0.3}, "< 0.2").verdict
    'partly'
    """

    statement: str
    test: str
    measured: float | Mapping[str, float] | None
    criterion: str

    def __post_init__(self) -> None:
        if not _CRITERION.fullmatch(self.criterion):
            raise ValueError(f"criterion must be a comparison with a number such as '< 0.01', got {self.criterion!r}")
        if isinstance(self.measured, Mapping) and not self.measured:
            raise ValueError(f"measured must hold at least one number, got none for {self.statement!r}")
        if not all(np.isfinite(value) for value in self._numbers.values()):
            raise ValueError(f"measured must be finite, got {self.measured!r} for {self.statement!r}")

    @property
    def _numbers(self) -> dict[str, float]:
        if self.measured is None:
            return {}
        return dict(self.measured) if isinstance(self.measured, Mapping) else {"": self.measured}

    @property
    def verdict(self) -> str:
        """'reproduced' when every number meets the criterion, 'not reproduced' when none does, 'partly' between."""
        sign, bound = _CRITERION.fullmatch(self.criterion).groups()
        held = [_COMPARE[sign](value, float(bound)) for value in self._numbers.values()]
        if not held:
            return "not testable here"
        return "reproduced" if all(held) else "partly" if any(held) else "not reproduced"

    @property
    def shown(self) -> str:
        """The measured numbers to three digits; a number at rounding level as its bound only."""
        sign, bound = _CRITERION.fullmatch(self.criterion).groups()
        rounding = sign in ("<", "<=") and 0 < float(bound) <= _ROUNDING
        parts = []
        for label, value in self._numbers.items():
            number = f"below {float(bound):g}" if rounding and abs(value) < float(bound) else f"{value:.3g}"
            parts.append(f"{label} {number}".strip())
        return ", ".join(parts) or "–"


def claims(rows: list[Claim]) -> None:
    """Show one row per claim and, below, how many of them reproduced.

    The overall verdict is *reproduced* when every testable claim is, *not reproduced* when none is, else *partly*.

    Raises
    ------
    ValueError
        When there is no row.

    Examples
    --------
    >>> claims([Claim("C1 one is small", "the number 1", 1.0, "< 2")])
    | claim | test | measured | reproduced if | verdict |
    |---|---|---|---|---|
    | C1 one is small | the number 1 | 1 | < 2 | **reproduced** |
    <BLANKLINE>
    Verdict: **reproduced** (1 of 1 testable claims; 0 partly, 0 not, 0 not testable here).
    """
    if not rows:
        raise ValueError("rows must hold at least one claim, got none")
    verdicts = [row.verdict for row in rows]
    count = {word: verdicts.count(word) for word in ("reproduced", "partly", "not reproduced", "not testable here")}
    testable = len(rows) - count["not testable here"]
    overall = "reproduced" if count["reproduced"] == testable else "not reproduced"
    if count["reproduced"] < testable and count["not reproduced"] < testable:
        overall = "partly"
    if not testable:
        overall = "not testable here"
    lines = ["| claim | test | measured | reproduced if | verdict |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [row.statement, row.test, row.shown, row.criterion, f"**{row.verdict}**"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += [
        "",
        f"Verdict: **{overall}** ({count['reproduced']} of {testable} testable claims; {count['partly']} partly, "
        f"{count['not reproduced']} not, {count['not testable here']} not testable here).",
    ]
    table = "\n".join(lines)
    display(_Table(table))


class _Table(Markdown):
    def __repr__(self) -> str:
        return self.data
