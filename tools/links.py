"""The links in a text of the collection, for copies of it that lie elsewhere."""

import re
from collections.abc import Callable

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]*)\)")  # no picture
_SENTENCE_ON_SOLUTIONS = re.compile(r"[^.\n]*\]\(solutions/[^)]*\)[^.\n]*\.")


def relink(text: str, address_of: Callable[[str], str]) -> str:
    """Text in which every link leads to another address, or where that is "" becomes plain words.

    Examples
    --------
    >>> relink("[one](a.md), [two](b.md)", {"a.md": "c.md", "b.md": ""}.get)
    '[one](c.md), two'
    """

    def change(link: re.Match) -> str:
        address = address_of(link[2])
        return f"[{link[1]}]({address})" if address else link[1]

    return _LINK.sub(change, text)


def unlinked(text: str) -> str:
    """Text in which links inside the collection are plain words."""
    return relink(text, lambda address: address if address.startswith("https:") else "")


def without_solutions(text: str) -> str:
    """Text without the sentences that link to worked solutions."""
    return _SENTENCE_ON_SOLUTIONS.sub("", text)
