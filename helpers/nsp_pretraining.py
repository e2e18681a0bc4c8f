"""Pre-training of a small BERT: pairs of segments for three objectives, masking, the two losses, a warm start.

Article: Su Jianlin, https://kexue.fm/archives/8671 (10 Sep 2021). Masked language model and next-sentence prediction:
Devlin et al. 2019, arXiv:1810.04805; sentence order prediction: Lan et al. 2019, arXiv:1909.11942.
A document is a list of sentences, a sentence a list of token numbers; all documents have at least two sentences.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor
from torch.nn import functional as F

from helpers.inputs import checked_choice, checked_integer, checked_number
from helpers.tiny_bert import TinyBert

OBJECTIVES = ("nsp", "sop", "same_section")
PAD, UNK, CLS, SEP, MASK = range(5)  # the numbers of the tokeniser's special tokens
SPECIAL = 5
IGNORED = -100  # target of a position without a loss, as in torch's cross_entropy

Document = Sequence[Sequence[int]]


class Pair(NamedTuple):
    """Two segments and their class: 0 is IsNext (adjacent, in order), 1 is NotNext."""

    a: list[int]
    b: list[int]
    label: int


class Batch(NamedTuple):
    """Pairs as BERT reads them: arguments of the model [B, L], classes [B], and targets of masked tokens [B, L]."""

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    targets: Tensor


class PairSampler:
    """Draws pairs, half of them adjacent spans of one document.

    The other half depends on the objective. "nsp": the second segment is that of a pair from another document, so
    that NotNext pairs follow p(a) p(b) and the optimum is pointwise mutual information. "same_section": likewise, from
    another document of the same section. "sop": the two segments of an adjacent pair in swapped order.

    Parameters
    ----------
    documents : of at least two sentences each; at least two documents, and two in some section for "same_section".
    objective : one of `OBJECTIVES`.
    sections : of each document; for "same_section" only. Documents alone in theirs are left out.
    max_length : tokens of a pair with its [CLS] and two [SEP]; the longer segment is cut at its end.

    Raises
    ------
    ValueError : fewer documents, shorter ones, an unknown objective, sections missing or not one per document,
        max_length no integer >= 5.

    >>> sampler = PairSampler([[[5], [6]], [[7], [8]]], "sop")
    >>> {(tuple(p.a), tuple(p.b), p.label) for p in sampler.draw(99, np.random.default_rng(0))} == {
    ...     ((5,), (6,), 0), ((6,), (5,), 1), ((7,), (8,), 0), ((8,), (7,), 1)}
    True
    """

    def __init__(
        self,
        documents: Sequence[Document],
        objective: str = "nsp",
        sections: Sequence[str] | None = None,
        max_length: int = 64,
    ) -> None:
        checked_choice("objective", objective, *OBJECTIVES)
        self.documents, self.objective = documents, objective
        self.room = checked_integer("max_length", max_length, 5) - 3
        if len(documents) < 2 or min(map(len, documents)) < 2:
            raise ValueError(f"documents must be at least 2 of at least 2 sentences each, got {len(documents)}")
        groups = [list(range(len(documents)))]
        if objective == "same_section":
            if sections is None or len(sections) != len(documents):
                raise ValueError("sections must name the section of each document for objective 'same_section'")
            members = defaultdict(list)
            for number, section in enumerate(sections):
                members[section].append(number)
            groups = [group for group in members.values() if len(group) > 1]
            if not groups:
                raise ValueError("sections must hold at least one with two documents, got none")
        self.usable = [(group, place) for group in groups for place in range(len(group))]

    def draw(self, n: int, rng: np.random.Generator) -> list[Pair]:
        """n pairs; the classes are drawn too, so that about half are 0."""
        pairs = []
        for _ in range(checked_integer("n", n, 0)):
            group, first = self.usable[int(rng.integers(len(self.usable)))]
            label = int(rng.integers(2))
            a, b = self._adjacent(group[first], rng)
            if label and self.objective == "sop":
                a, b = b, a
            elif label:
                second = (first + 1 + int(rng.integers(len(group) - 1))) % len(group)
                b = self._adjacent(group[second], rng)[1]
            pairs.append(Pair(*truncated(a, b, self.room), label))
        return pairs

    def _adjacent(self, number: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Two spans on the two sides of a random cut; each is one sentence with probability 1/2, else of any length."""
        document = self.documents[number]
        cut = int(rng.integers(1, len(document)))
        before = 1 if rng.random() < 0.5 else int(rng.integers(1, cut + 1))
        after = 1 if rng.random() < 0.5 else int(rng.integers(1, len(document) - cut + 1))
        return list(chain(*document[cut - before : cut])), list(chain(*document[cut : cut + after]))


def truncated(a: Sequence[int], b: Sequence[int], room: int) -> tuple[list[int], list[int]]:
    """Both segments within `room` tokens together: the longer one loses its end, then both in turn, b before a.

    >>> truncated([1, 2, 3, 4, 5], [6, 7], 4)
    ([1, 2], [6, 7])
    """
    keep_a = max(min(len(a), room - len(b)), min(len(a), room - room // 2))
    keep_b = min(len(b), room - keep_a)
    return list(a[:keep_a]), list(b[:keep_b])


def collate(pairs: Sequence[Pair]) -> Batch:
    """[CLS] a [SEP] b [SEP], padded to the longest; all targets `IGNORED`.

    Raises
    ------
    ValueError : no pairs.

    >>> collate([Pair([7], [8, 9], 0), Pair([7], [8], 1)]).input_ids.tolist()
    [[2, 7, 3, 8, 9, 3], [2, 7, 3, 8, 3, 0]]
    """
    if not pairs:
        raise ValueError("pairs must hold at least one pair, got none")
    width = max(len(pair.a) + len(pair.b) for pair in pairs) + 3
    ids, types, mask = (np.zeros((len(pairs), width), dtype=np.int64) for _ in range(3))
    for row, (a, b, _) in enumerate(pairs):
        tokens = [CLS, *a, SEP, *b, SEP]
        ids[row, : len(tokens)] = tokens
        types[row, len(a) + 2 : len(tokens)] = 1
        mask[row, : len(tokens)] = 1
    labels = torch.tensor([pair.label for pair in pairs])
    ids = torch.from_numpy(ids)
    return Batch(ids, torch.from_numpy(types), torch.from_numpy(mask), labels, torch.full_like(ids, IGNORED))


def masked(batch: Batch, rng: np.random.Generator, vocab_size: int, rate: float = 0.15) -> Batch:
    """The batch with tokens to restore: of each chosen one 80 % become [MASK], 10 % any token, 10 % stay as they are.

    Special tokens are never chosen, the others with probability `rate` each.

    Raises
    ------
    ValueError : rate outside [0, 1], vocab_size no integer > the number of special tokens.

    >>> batch = collate([Pair([7], [8, 9], 0)])
    >>> masked(batch, np.random.default_rng(0), 10, rate=1).targets.tolist()
    [[-100, 7, -100, 8, 9, -100]]
    """
    rate = checked_number("rate", rate, "in [0, 1]", lambda value: 0 <= value <= 1)
    checked_integer("vocab_size", vocab_size, SPECIAL + 1)
    ids = batch.input_ids.numpy()
    chosen = (rng.random(ids.shape) < rate) & (ids >= SPECIAL)
    fate = rng.random(ids.shape)
    changed = np.where(chosen & (fate < 0.8), MASK, ids)
    random = rng.integers(SPECIAL, vocab_size, ids.shape)
    changed = np.where(chosen & (fate >= 0.9), random, changed)
    targets = np.where(chosen, ids, IGNORED)
    return batch._replace(input_ids=torch.from_numpy(changed), targets=torch.from_numpy(targets))


def pretraining_losses(model: TinyBert, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean cross-entropies in nats: of the pairs' classes, and of the masked tokens (0 where there are none)."""
    h = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
    pair = F.cross_entropy(model.nsp_logits(h), batch.labels)
    chosen = batch.targets != IGNORED  # the vocabulary is large: logits only where they count
    token = F.cross_entropy(model.mlm_logits(h[chosen]), batch.targets[chosen], reduction="sum")
    return pair, token / chosen.sum().clamp(min=1)


@torch.no_grad()
def pair_accuracy(model: TinyBert, pairs: Sequence[Pair], batch_size: int = 128) -> float:
    """Share of the pairs whose class has the larger logit; a tie counts as IsNext.

    Raises
    ------
    ValueError : no pairs, batch_size no integer >= 1.
    """
    batch_size = checked_integer("batch_size", batch_size, 1)
    ordered = sorted(pairs, key=lambda pair: len(pair.a) + len(pair.b))
    right = 0
    for start in range(0, max(len(ordered), 1), batch_size):
        batch = collate(ordered[start : start + batch_size])
        z = model.nsp_logits(model(batch.input_ids, batch.token_type_ids, batch.attention_mask))
        right += int(((z[:, 1] > z[:, 0]).long() == batch.labels).sum())
    return right / len(ordered)


def lsa_embeddings(documents: Sequence[Document], vocab_size: int, width: int, seed: int = 0) -> Tensor:
    """Latent semantic analysis: a vector [width] per token, rows of unit length, zero for tokens that do not occur.

    They are V Σ of the truncated SVD U Σ Vᵀ of the TF-IDF matrix [documents, vocabulary].

    Raises
    ------
    ValueError : fewer documents than components, fewer tokens in the vocabulary than components or the largest token.

    >>> rows = lsa_embeddings([[[0, 1]], [[0, 1]], [[2, 2]]], 4, 2)
    >>> torch.round(rows @ rows.T, decimals=4).abs().tolist()[0]
    [1.0, 1.0, 0.0, 0.0]
    """
    width = checked_integer("width", width, 1)
    rows = [
        np.fromiter((token for sentence in document for token in sentence), dtype=np.int64) for document in documents
    ]
    largest = max((int(row.max()) for row in rows if row.size), default=0)
    if len(documents) < width:
        raise ValueError(f"documents must number at least width, {width}, got {len(documents)}")
    if checked_integer("vocab_size", vocab_size, 1) <= max(largest, width - 1):
        raise ValueError(f"vocab_size must exceed the largest token {largest} and reach width, got {vocab_size}")
    where = np.repeat(np.arange(len(rows)), [row.size for row in rows])
    counts = sparse.csr_array((np.ones(where.size), (where, np.concatenate(rows))), shape=(len(rows), vocab_size))
    tfidf = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    svd = TruncatedSVD(width, random_state=seed).fit(tfidf)
    vectors = svd.components_.T * svd.singular_values_
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return torch.from_numpy(np.divide(vectors, norms, where=norms > 1e-9, out=np.zeros_like(vectors))).float()


@torch.no_grad()
def warm_start(model: TinyBert, embeddings: Tensor) -> None:
    """Start from word vectors [V, H], and from attention that compares like with like: W_key = W_query.

    Rows of zeros leave the model's own random rows. Positions and types become small beside the words.

    Raises
    ------
    ValueError : embeddings of another shape than the model's.
    """
    if embeddings.shape != model.words.weight.shape:
        raise ValueError(f"embeddings must have shape {tuple(model.words.weight.shape)}, got {tuple(embeddings.shape)}")
    known = embeddings.abs().sum(dim=1) > 0
    model.words.weight[known] = embeddings[known]
    for table in (model.positions, model.types):
        table.weight.mul_(0.25)
    for layer in model.layers:
        layer.key.weight.copy_(layer.query.weight)
