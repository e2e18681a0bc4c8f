"""Tasks made from documents: which sentence follows, which description belongs, which word is missing.

Paper: Sun et al., NSP-BERT, arXiv:2109.03564, sections 3.2 and 3.3. Documents: `helpers.nsp_documents`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from helpers.inputs import checked_integer, checked_number
from helpers.nsp_encoding import token_ids, tokens_of

Documents = Sequence[Mapping[str, Any]]


class SentencePairs(NamedTuple):
    """Sentences `a` and `b`, N each; `follows` [N] is 1 where b comes next after a."""

    a: list[str]
    b: list[str]
    follows: NDArray[np.int64]


class Links(NamedTuple):
    """Synopses, [N]; the candidate descriptions of each, [N][C]; `answer` [N], which of them is its own."""

    queries: list[str]
    candidates: list[list[str]]
    answer: NDArray[np.int64]


class Cloze(NamedTuple):
    """One item: the sentence before, the sentence with ``{}`` in place of a word, the `words`, and which was there."""

    before: str
    sentence: str
    words: list[str]
    answer: int


def sentence_pairs(
    documents: Documents, n: int, rng: np.random.Generator, share: float = 0.5, same_section: bool = False
) -> SentencePairs:
    """n pairs, round(share n) of them neighbours in a document, the others from two documents; in random order.

    Parameters
    ----------
    documents : dicts with "section" and "sentences"; those with two or more sentences are used.
    n : >= 1.
    rng : of the choice.
    share : in [0, 1].
    same_section : take b of the others from a document of the same section.

    Raises
    ------
    ValueError : bad n or share; fewer than two usable documents, in a section where it matters.

    >>> documents = [{"section": "x", "sentences": ["a", "b"]}, {"section": "x", "sentences": ["c", "d"]}]
    >>> pairs = sentence_pairs(documents, 4, np.random.default_rng(0))
    >>> bool(all(next == ((a + b) in ("ab", "cd")) for a, b, next in zip(*pairs)))
    True
    """
    n = checked_integer("n", n, 1)
    share = checked_number("share", share, "in [0, 1]", lambda value: 0 <= value <= 1)
    usable = [document for document in documents if len(document["sentences"]) >= 2]
    places = _places(usable, same_section)
    follows = rng.permutation(np.arange(n) < round(share * n)).astype(np.int64)
    a, b = [], []
    for positive in follows:
        k = int(rng.integers(len(usable)))
        sentences = usable[k]["sentences"]
        t = int(rng.integers(len(sentences) - 1))
        if not positive:
            other = usable[_other(k, places, usable, same_section, rng)]["sentences"]
        a.append(sentences[t])
        b.append(sentences[t + 1] if positive else other[int(rng.integers(len(other)))])
    return SentencePairs(a, b, follows)


def _places(documents: Documents, same_section: bool, least: int = 2) -> dict[str, list[int]]:
    """Numbers of the documents by section, or all under one name; each list long enough."""
    places: dict[str, list[int]] = {}
    for k, document in enumerate(documents):
        places.setdefault(document["section"] if same_section else "any", []).append(k)
    short = {name: len(found) for name, found in places.items() if len(found) < least}
    if short or not places:
        raise ValueError(f"documents must hold at least {least} usable ones (in each section), got {short or 'none'}")
    return places


def _other(k: int, places: dict, documents: Documents, same_section: bool, rng: np.random.Generator) -> int:
    """A document other than number k."""
    found = places[documents[k]["section"] if same_section else "any"]
    at = int(rng.integers(len(found) - 1))
    return found[at] if found[at] < k else found[at + 1]


def synopsis_links(
    documents: Documents, n: int, rng: np.random.Generator, candidates: int = 8, same_section: bool = False
) -> Links:
    """n synopses, each with its own description (its first two sentences) among those of other documents.

    Parameters
    ----------
    documents : dicts with "section", "synopsis" and "sentences".
    n : 1 to the number of documents; each is asked for once.
    rng : of the choice and the order.
    candidates : C >= 2.
    same_section : the other candidates are of the same section.

    Raises
    ------
    ValueError : bad n or candidates; fewer than C documents, in a section where it matters.

    >>> documents = [{"section": "x", "synopsis": s, "sentences": [s + s]} for s in "abc"]
    >>> links = synopsis_links(documents, 2, np.random.default_rng(0), candidates=3)
    >>> [found[k] == 2 * query for query, found, k in zip(*links)]
    [True, True]
    """
    candidates = checked_integer("candidates", candidates, 2)
    if checked_integer("n", n, 1) > len(documents):
        raise ValueError(f"n must be at most {len(documents)}, the number of documents, got {n}")
    places = _places(documents, same_section, least=candidates)
    queries, offered, answers = [], [], []
    for k in rng.permutation(len(documents))[:n]:
        found = places[documents[k]["section"] if same_section else "any"]
        others = rng.choice([other for other in found if other != k], candidates - 1, replace=False)
        order = rng.permutation([k, *others])
        queries.append(documents[k]["synopsis"])
        offered.append([" ".join(documents[j]["sentences"][:2]) for j in order])
        answers.append(int(np.flatnonzero(order == k)[0]))
    return Links(queries, offered, np.array(answers))


def cloze_items(
    documents: Documents, tokenizer: Any, n: int, rng: np.random.Generator, choices: int = 4, longest: int = 30
) -> list[Cloze]:
    """n sentences with a content word taken out, and other content words beside it.

    Content words are of four letters or more, one token of the vocabulary, and occur in 2 % of the documents at most.
    The wrong words come from the other documents, as often as they occur there.

    Parameters
    ----------
    documents : dicts with "sentences".
    tokenizer : as in `helpers.nsp_encoding.encode_pairs`.
    n : >= 1.
    rng : of the choice.
    choices : >= 2 words, the right one among them.
    longest : tokens of a sentence.

    Raises
    ------
    ValueError : bad n, choices or longest; too few sentences.
    """
    n, choices = checked_integer("n", n, 1), checked_integer("choices", choices, 2)
    longest = checked_integer("longest", longest, 1)
    words = [
        sorted({word for sentence in document["sentences"] for word in sentence.split()}) for document in documents
    ]
    spread = {}
    for word in (word for found in words for word in found if len(word) >= 4 and word.isalpha() and word.islower()):
        spread[word] = spread.get(word, 0) + 1
    rare = sorted(word for word, count in spread.items() if count <= max(1, 0.02 * len(documents)))
    whole = {
        word for word, ids in zip(rare, token_ids(tokenizer, rare), strict=True) if tokens_of(tokenizer, ids) == [word]
    }
    pool = [word for found in words for word in found if word in whole]
    places = [
        (document, t, spots)
        for document in documents
        for t, sentence in enumerate(document["sentences"])
        if t and "{" not in sentence and (spots := [k for k, word in enumerate(sentence.split()) if word in whole])
    ]
    lengths = [len(ids) for ids in token_ids(tokenizer, [document["sentences"][t] for document, t, _ in places])]
    places = [place for place, length in zip(places, lengths, strict=True) if length <= longest]
    if len(places) < n or len(set(pool)) < choices:
        raise ValueError(f"documents must hold {n} sentences with content words, got {len(places)}")
    items = []
    for at in rng.permutation(len(places))[:n]:
        document, t, spots = places[at]
        split = document["sentences"][t].split()
        spot = int(rng.choice(spots))
        offered = [split[spot]]
        while len(offered) < choices:
            word = pool[int(rng.integers(len(pool)))]
            if word not in offered and word not in split:
                offered.append(word)
        order = rng.permutation(choices)
        sentence = " ".join([*split[:spot], "{}", *split[spot + 1 :]])
        items.append(Cloze(document["sentences"][t - 1], sentence, [offered[k] for k in order], int(np.argmin(order))))
    return items
