"""Documents of notebook 05: the held-out ones that are shipped, and the whole corpus where somebody has made it.

A document is a dict: part ("train", "dev" or "test"), section of the Debian archive, source and package, the one-line
synopsis and the sentences of the description. Made by examples/debian_descriptions.py, which states the licences.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from helpers.inputs import checked_choice

SHIPPED = resources.files("helpers") / "pretrained"
PARTS = ("train", "dev", "test")
FIELDS = ("part", "section", "source", "package", "synopsis", "sentences")

Document = dict[str, Any]


def held_out(part: str) -> list[Document]:
    """The shipped documents of a part, by section in the order of `section_labels`; the model has not seen them.

    Raises
    ------
    ValueError : part is neither "dev" (to calibrate with) nor "test".

    >>> held_out("test")[0]["section"], len(held_out("dev")) < len(held_out("test"))
    ('games', True)
    """
    checked_choice("part", part, *PARTS[1:])
    return [document for document in _shipped()["documents"] if document["part"] == part]


def section_labels(n: int = 12) -> dict[str, str]:
    """The word that stands for each of the first n sections; 4, 8 and 12 are the label sets of the notebook.

    Raises
    ------
    ValueError : n is none of 4, 8, 12.

    >>> section_labels(4)
    {'games': 'game', 'sound': 'music', 'fonts': 'font', 'science': 'science'}
    """
    if n not in (4, 8, 12):
        raise ValueError(f"n must be 4, 8 or 12, got {n!r}")
    return dict(list(_shipped()["labels"].items())[:n])


def read_corpus(path: str | Path) -> dict[str, list[Document]]:
    """All documents of a file of examples/debian_descriptions.py, by part.

    Raises
    ------
    ValueError : a line is no document; its number is named. A part is empty.
    """
    parts: dict[str, list[Document]] = {part: [] for part in PARTS}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        document = json.loads(line)
        if set(document) != set(FIELDS) or document["part"] not in PARTS or not document["sentences"]:
            raise ValueError(f"{path} must hold documents with the fields {FIELDS}, line {number} is {line[:80]!r}")
        parts[document["part"]].append(document)
    if empty := [part for part in PARTS if not parts[part]]:
        raise ValueError(f"{path} must hold documents of every part, got none of {empty}")
    return parts


def _shipped() -> dict[str, Any]:
    return json.loads((SHIPPED / "held_out.json").read_text(encoding="utf-8"))
