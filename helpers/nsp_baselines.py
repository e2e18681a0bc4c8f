"""What needs no next-sentence head: nearest label by TF-IDF, by LSA and by word embeddings, and a few labelled texts.

LSA: Deerwester et al. (1990), https://doi.org/10.1002/(SICI)1097-4571(199009)41:6%3C391::AID-ASI1%3E3.0.CO;2-9
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from helpers.inputs import Array, checked_integer, checked_labels, checked_rows
from helpers.nsp_encoding import checked_ids, checked_texts, token_ids


class TextSpace:
    """TF-IDF vectors of texts, from the counts of unlabelled training texts, optionally reduced by LSA.

    Parameters
    ----------
    training : unlabelled texts; words in fewer than two of them are ignored.
    components : of the truncated singular value decomposition (LSA), or None for TF-IDF itself.
    seed : of the randomised decomposition.

    Raises
    ------
    TypeError, ValueError : training holds something else than non-empty texts; components < 1; no word twice.

    >>> space = TextSpace(["a red apple", "a red rose", "blue water", "blue sky water"])
    >>> space.label_scores(["rose is red"], ["red", "blue"]).argmax()
    np.int64(0)
    """

    def __init__(self, training: Sequence[str], components: int | None = None, seed: int = 0) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
        vectors = self.vectorizer.fit_transform(checked_texts("training", training))
        self.reduction = None
        if components is not None:
            self.reduction = TruncatedSVD(checked_integer("components", components, 1), random_state=seed).fit(vectors)

    def vectors(self, texts: Sequence[str]) -> Any:
        """Unit rows [N, features], or rows of zeros for texts without a known word; sparse for TF-IDF."""
        from sklearn.preprocessing import normalize

        found = self.vectorizer.transform(checked_texts("texts", texts))
        return normalize(found if self.reduction is None else self.reduction.transform(found))

    def label_scores(self, texts: Sequence[str], labels: Sequence[str]) -> Array:
        """Cosine of each text with each label, [N, C]; 0 where either has no known word."""
        product = self.vectors(texts) @ self.vectors(labels).T
        return np.asarray(product.todense() if self.reduction is None else product)


def few_shot_predictions(
    space: TextSpace, known: Sequence[str], y: ArrayLike, texts: Sequence[str], shots: int | None, seed: int = 0
) -> NDArray[np.int64]:
    """Classes [N] of texts by logistic regression on vectors of `shots` labelled texts per class, or of all (None).

    Parameters
    ----------
    space : of the vectors.
    known, y : labelled texts and their classes, [n].
    texts : N texts.
    shots : per class, >= 1.
    seed : of the draw.

    Raises
    ------
    ValueError : bad y or shots, a class with fewer texts than shots.

    >>> space = TextSpace(["red apple", "red rose", "blue water", "blue sky"])
    >>> few_shot_predictions(space, ["red apple", "blue sky"], [0, 1], ["red", "blue"], shots=1).tolist()
    [0, 1]
    """
    from sklearn.linear_model import LogisticRegression

    y, rng = checked_labels(y, len(known), None), np.random.default_rng(checked_integer("seed", seed, 0))
    chosen = np.arange(len(y))
    if shots is not None:
        smallest = np.bincount(y)[np.unique(y)].min()
        if checked_integer("shots", shots, 1) > smallest:
            raise ValueError(f"shots must be at most {smallest}, the texts of the smallest class, got {shots}")
        chosen = np.concatenate([rng.choice(np.flatnonzero(y == c), shots, replace=False) for c in np.unique(y)])
    vectors = space.vectors([known[k] for k in chosen])
    return LogisticRegression(C=10, max_iter=1000).fit(vectors, y[chosen]).predict(space.vectors(texts))


def token_idf(tokenizer: Any, texts: Sequence[str], vocab_size: int) -> Array:
    """Inverse document frequency log((1 + n) / (1 + n_t)) + 1 of each token t in n texts, [V].

    Parameters
    ----------
    tokenizer : as in `helpers.nsp_encoding.encode_pairs`.
    texts : n texts.
    vocab_size : V, beyond every id.

    Raises
    ------
    TypeError, ValueError : bad texts; ids beyond vocab_size.
    """
    counts = np.zeros(checked_integer("vocab_size", vocab_size, 1))
    ids = token_ids(tokenizer, checked_texts("texts", texts))
    if (largest := max((max(each, default=0) for each in ids), default=0)) >= vocab_size:
        raise ValueError(f"vocab_size must be beyond every id, {largest}, got {vocab_size}")
    for each in ids:
        counts[list(set(each))] += 1
    return np.log((1 + len(ids)) / (1 + counts)) + 1


def embedding_label_scores(
    model: Any, tokenizer: Any, texts: Sequence[str], labels: Sequence[str], idf: ArrayLike
) -> Array:
    """Cosine of the idf-weighted mean input embeddings of each text and each label, [N, C]: no layer is used.

    Parameters
    ----------
    model, tokenizer : as in `helpers.nsp_scoring.nsp_scores`.
    texts, labels : lists of non-empty texts.
    idf : weight of each token, [V], see `token_idf`.

    Raises
    ------
    TypeError, ValueError : bad texts or labels; idf of another length than the vocabulary.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> model, tokenizer = load_tiny_bert()
    >>> embedding_label_scores(model, tokenizer, ["game"], ["game", "font"], np.ones(6000)).round(3)[0, 0]
    np.float64(1.0)
    """
    words = model.words.weight.detach().to(torch.float64).numpy()
    [weights] = checked_rows("idf", np.atleast_2d(idf), len(words))

    def unit(name: str, given: Sequence[str]) -> Array:
        rows = [weights[ids] @ words[ids] for ids in checked_ids(name, tokenizer, given)]
        rows = np.array(rows).reshape(-1, words.shape[1])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return unit("texts", texts) @ unit("labels", labels).T


def label_in_text(texts: Sequence[str], labels: Sequence[str], y: ArrayLike) -> NDArray[np.bool_]:
    """Whether the stem of a text's own label, its first five letters, occurs in the text, [N]: the easy ones.

    Parameters
    ----------
    texts, labels : as in `helpers.nsp_scoring.nsp_scores`.
    y : index of each text's label, [N].

    Raises
    ------
    TypeError, ValueError : bad texts, labels or y.

    >>> label_in_text(["Scientific work", "all else"], ["science"], [0, 0]).tolist()
    [True, False]
    """
    texts, labels = checked_texts("texts", texts), checked_texts("labels", labels)
    y = checked_labels(y, len(texts), len(labels))
    return np.array([labels[c].lower()[:5] in text.lower() for text, c in zip(texts, y, strict=True)], dtype=bool)
