"""Nearest labels and few labels beside the formulas; the tasks made from documents."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.nsp_baselines import TextSpace, embedding_label_scores, few_shot_predictions, label_in_text, token_idf
from helpers.nsp_tasks import cloze_items, sentence_pairs, synopsis_links
from tests.small_bert import small_model, small_tokenizer

TRAINING = ["a red apple", "a red rose", "blue water", "blue sky water", "green"]


def test_tfidf_is_its_formula():
    """Oracle: (1 + log tf) (log((1 + n) / (1 + n_t)) + 1), unit rows. "apple", "rose", "sky", "green" occur once."""
    space = TextSpace(TRAINING)
    assert sorted(space.vectorizer.vocabulary_) == ["blue", "red", "water"]
    weight = np.log(6 / 3) + 1
    due = (1 + np.log(2)) * weight / np.hypot((1 + np.log(2)) * weight, weight)
    found = space.label_scores(["Red red blue", "water", "nothing known"], ["red", "blue water"])
    np.testing.assert_allclose(found[0], [due, np.sqrt(1 - due**2) / np.sqrt(2)], rtol=1e-12)
    np.testing.assert_allclose(found[1:], [[0, np.sqrt(0.5)], [0, 0]], atol=1e-12)


def test_lsa_is_the_cosine_in_the_leading_singular_vectors():
    """Oracle: numpy's singular value decomposition of the same TF-IDF matrix."""
    training = [*TRAINING, "red water", "blue rose sky", "apple sky"]
    space, plain = TextSpace(training, 2), TextSpace(training)
    matrix = plain.vectorizer.transform(training).toarray()
    leading = np.linalg.svd(matrix)[2][:2].T
    texts, labels = ["red apple", "sky"], ["rose", "blue", "water"]
    a, b = (plain.vectorizer.transform(each).toarray() @ leading for each in (texts, labels))
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    np.testing.assert_allclose(space.label_scores(texts, labels), a @ b.T, atol=1e-6)
    again = TextSpace(training, 2, seed=0).label_scores(texts, labels)
    np.testing.assert_array_equal(space.label_scores(texts, labels), again)


def test_few_shots_take_so_many_of_each_class():
    space = TextSpace(TRAINING * 2)
    known = ["red apple", "red rose", "red", "blue", "blue sky", "blue water"]
    y = [1, 1, 1, 4, 4, 4]
    for shots in (1, 2, 3, None):
        assert few_shot_predictions(space, known, y, ["red", "water blue"], shots).tolist() == [1, 4]
    wrong = [1, 1, 4, 4, 4, 1]  # the third and the last swapped: one shot meets a wrong one now and then
    answers = {tuple(few_shot_predictions(space, known, wrong, ["red", "blue"], 1, seed)) for seed in range(12)}
    assert len(answers) > 1
    first = few_shot_predictions(space, known, wrong, ["red", "blue"], 1)
    assert first.tolist() == few_shot_predictions(space, known, wrong, ["red", "blue"], 1, seed=0).tolist()


def test_embeddings_are_weighted_by_idf():
    model, tokenizer = small_model(), small_tokenizer()
    idf = token_idf(tokenizer, ["a game", "a font", "a a mail"], 21)
    assert idf[[8, 5, 0]].tolist() == [1, np.log(2) + 1, np.log(4) + 1]
    words = model.words.weight.detach().double().numpy()
    text, label = idf[8] * words[8] + idf[5] * words[5], words[6]
    due = text @ label / np.linalg.norm(text) / np.linalg.norm(label)
    found = embedding_label_scores(model, tokenizer, ["a game", "font"], ["font", "mail"], idf)
    np.testing.assert_allclose(found[0, 0], due, rtol=1e-12)
    assert found[1, 0] == pytest.approx(1)
    assert embedding_label_scores(model, tokenizer, [], ["font"], idf).shape == (0, 1)
    shifted = SimpleNamespace(words=SimpleNamespace(weight=torch.nn.Parameter(torch.eye(21, dtype=torch.float64))))
    assert embedding_label_scores(shifted, tokenizer, ["game"], ["font"], idf).tolist() == [[0]]


def test_label_in_text():
    texts = ["An EDITOR for text", "edit it", "scientists", "mathematics"]
    assert label_in_text(texts, ["editor", "science"], [0, 0, 1, 1]).tolist() == [True, False, True, False]


def documents(n=12):
    words = ["window", "letter", "planet", "driver", "engine", "packet", "mirror", "kernel"]
    return [
        {
            "section": "xy"[k % 2],
            "synopsis": f"s{k}",
            "sentences": [f"{k} a", f"{k} b", f"{k} c {words[k % 8]}"],
        }
        for k in range(n)
    ]


@pytest.mark.parametrize("same_section", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_sentence_pairs(share, same_section):
    pairs = sentence_pairs(documents(), 200, np.random.default_rng(0), share, same_section)
    assert pairs.follows.sum() == 200 * share
    sections = []
    for a, b, follows in zip(*pairs, strict=True):
        (k, x, *_), (j, y, *_) = a.split(), b.split()
        assert (k == j and ord(y) == ord(x) + 1) == follows
        assert follows or k != j
        sections.append(int(k) % 2 == int(j) % 2)
    assert all(sections) == (same_section or share == 1)
    if share == 0.25:
        assert 0 < pairs.follows[:100].sum() < 50  # in random order
        assert {b.split()[1] for b, f in zip(pairs.b, pairs.follows, strict=True) if not f} == {"a", "b", "c"}
        assert len({b.split()[0] for b in pairs.b}) == 12
        assert {a.split()[1] for a in pairs.a} == {"a", "b"}


def test_sentence_pairs_leave_short_documents_out():
    short = {"section": "x", "synopsis": "s", "sentences": ["alone"]}
    pairs = sentence_pairs([*documents(2), short], 50, np.random.default_rng(0))
    assert "alone" not in {*pairs.a, *pairs.b}


@pytest.mark.parametrize("same_section", [False, True])
def test_links(same_section):
    links = synopsis_links(documents(), 12, np.random.default_rng(0), 4, same_section)
    assert sorted(links.queries) == sorted(f"s{k}" for k in range(12))
    assert set(links.answer) == {0, 1, 2, 3}
    for query, found, answer in zip(*links, strict=True):
        k = int(query[1:])
        assert found[answer].startswith(f"{k} a ")
        assert found[answer].endswith(f" {k} b")
        assert len(set(found)) == 4
        if same_section:
            assert {int(each.split()[0]) % 2 for each in found} == {k % 2}
    assert len(synopsis_links(documents(), 5, np.random.default_rng(0)).queries) == 5


def test_cloze():
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = ["[UNK]", "window", "letter", "planet", "driver", "engine", "packet", "mirror", "kern", "##el", *"abc"]
    vocab += [str(k) for k in range(100)]
    tokenizer = Tokenizer(models.WordPiece({word: k for k, word in enumerate(vocab)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    given = documents(8)
    items = cloze_items(given, tokenizer, 6, np.random.default_rng(0))
    whole = set(vocab[1:8])
    for item in items:
        k = int(item.before.split()[0])
        assert item.before == f"{k} b"
        assert item.sentence.replace("{}", item.words[item.answer]) == given[k]["sentences"][2]
        assert len(set(item.words)) == 4
        assert set(item.words) <= whole  # "kernel" is two tokens
    assert len({item.before for item in items}) == 6
    assert len({item.answer for item in items}) > 1
    assert len(cloze_items(given, tokenizer, 2, np.random.default_rng(0), choices=2)[0].words) == 2
    with pytest.raises(ValueError, match=r"^documents must hold 8 sentences with content words, got 7$"):
        cloze_items(given, tokenizer, 8, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"^documents must hold 1 sentences with content words, got 0$"):
        cloze_items(given, tokenizer, 1, np.random.default_rng(0), longest=2)
    assert len(cloze_items(given, tokenizer, 7, np.random.default_rng(0), longest=3)) == 7
    with pytest.raises(ValueError, match=r"^documents must hold 1 sentences"):  # seven words, no eight
        cloze_items(given, tokenizer, 1, np.random.default_rng(0), choices=8)


SPACE, RNG, IDF = TextSpace(TRAINING), np.random.default_rng(0), np.ones(21)
BAD = {
    "training": (lambda: TextSpace("red"), TypeError, "training must be a list of strings, got 'red'"),
    "components": (lambda: TextSpace(TRAINING, 0), ValueError, "components must be an integer >= 1, got 0"),
    "texts": (lambda: SPACE.vectors([""]), ValueError, "texts must not be empty, got '' at position 0"),
    "y": (
        lambda: few_shot_predictions(SPACE, ["red"], [0, 1], ["red"], 1),
        ValueError,
        "y must have shape (1,), one label per row, got (2,)",
    ),
    "shots": (
        lambda: few_shot_predictions(SPACE, ["red", "red", "blue"], [0, 0, 2], ["red"], 2),
        ValueError,
        "shots must be at most 1, the texts of the smallest class, got 2",
    ),
    "no shots": (
        lambda: few_shot_predictions(SPACE, ["red", "blue"], [0, 1], ["red"], 0),
        ValueError,
        "shots must be an integer >= 1, got 0",
    ),
    "seed": (
        lambda: few_shot_predictions(SPACE, ["red", "blue"], [0, 1], ["red"], 1, -1),
        ValueError,
        "seed must be an integer >= 0, got -1",
    ),
    "vocabulary": (
        lambda: token_idf(small_tokenizer(), ["mail"], 7),
        ValueError,
        "vocab_size must be beyond every id, 7, got 7",
    ),
    "idf": (
        lambda: embedding_label_scores(small_model(), small_tokenizer(), ["a"], ["a"], IDF[:3]),
        ValueError,
        "idf must have 21 columns, got 3",
    ),
    "label": (
        lambda: embedding_label_scores(small_model(), small_tokenizer(), ["a"], [""], IDF),
        ValueError,
        "labels must not be empty, got '' at position 0",
    ),
    "classes": (
        lambda: label_in_text(["a"], ["b"], [1]),
        ValueError,
        "y must hold labels below 1, the number of classes, got 1",
    ),
    "n": (lambda: sentence_pairs(documents(), 0, RNG), ValueError, "n must be an integer >= 1, got 0"),
    "share": (lambda: sentence_pairs(documents(), 1, RNG, 1.1), ValueError, "share must be in [0, 1], got 1.1"),
    "negative share": (lambda: sentence_pairs(documents(), 1, RNG, -1), ValueError, "share must be in [0, 1], got -1"),
    "one document": (
        lambda: sentence_pairs(documents(1), 1, RNG),
        ValueError,
        "documents must hold at least 2 usable ones (in each section), got {'any': 1}",
    ),
    "none in a section": (
        lambda: sentence_pairs(documents(3), 1, RNG, same_section=True),
        ValueError,
        "documents must hold at least 2 usable ones (in each section), got {'y': 1}",
    ),
    "no documents": (
        lambda: sentence_pairs([], 1, RNG),
        ValueError,
        "documents must hold at least 2 usable ones (in each section), got none",
    ),
    "queries": (
        lambda: synopsis_links(documents(3), 4, RNG, 2),
        ValueError,
        "n must be at most 3, the number of documents, got 4",
    ),
    "no queries": (lambda: synopsis_links(documents(3), 0, RNG, 2), ValueError, "n must be an integer >= 1, got 0"),
    "candidates": (
        lambda: synopsis_links(documents(3), 1, RNG, 1),
        ValueError,
        "candidates must be an integer >= 2, got 1",
    ),
    "few candidates": (
        lambda: synopsis_links(documents(3), 1, RNG, 4),
        ValueError,
        "documents must hold at least 4 usable ones (in each section), got {'any': 3}",
    ),
    "items": (
        lambda: cloze_items(documents(), small_tokenizer(), 0, RNG),
        ValueError,
        "n must be an integer >= 1, got 0",
    ),
    "choices": (
        lambda: cloze_items(documents(), small_tokenizer(), 1, RNG, choices=1),
        ValueError,
        "choices must be an integer >= 2, got 1",
    ),
    "longest": (
        lambda: cloze_items(documents(), small_tokenizer(), 1, RNG, longest=0),
        ValueError,
        "longest must be an integer >= 1, got 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()
