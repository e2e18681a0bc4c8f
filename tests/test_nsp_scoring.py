"""Scores beside the same pairs one by one, and beside a model whose answer is known; calibration, PET and occlusion."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.nsp_batches import TruncationWarning
from helpers.nsp_encoding import encode_pairs
from helpers.nsp_scoring import (
    calibration_bias,
    classify,
    content_free_bias,
    mlm_label_scores,
    nsp_scores,
    occlusion,
    pair_scores,
)
from tests.small_bert import WORDS, small_model, small_tokenizer

TEXTS = ["kill all the alien", "fast mail", "type . read", "a game", "the font program reads all type fast ."]
PROMPTS = ["game", "a font program", "mail ."]


@pytest.fixture(scope="module")
def given():
    return small_model(), small_tokenizer()


def one_by_one(given, a, b, truncate="longer", max_length=24):
    model, tokenizer = given
    with torch.no_grad():
        encoded = [encode_pairs(tokenizer, [x], [y], max_length, truncate) for x, y in zip(a, b, strict=True)]
        z = torch.cat([model.nsp_logits(model(**each)) for each in encoded])
    return z.numpy()


@pytest.mark.parametrize("order", ["prefix", "suffix"])
def test_scores_are_those_of_the_pairs_one_by_one(given, order):
    logits = nsp_scores(*given, TEXTS, PROMPTS, order, return_logits=True)
    scores = nsp_scores(*given, TEXTS, PROMPTS, order)
    assert logits.shape == (5, 3, 2)
    assert scores.shape == (5, 3)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, logits[..., 0] - logits[..., 1])
    for i, text in enumerate(TEXTS):
        for j, prompt in enumerate(PROMPTS):
            pair = ([prompt], [text]) if order == "prefix" else ([text], [prompt])
            np.testing.assert_allclose(logits[i, j], one_by_one(given, *pair)[0], atol=1e-5)
    assert np.abs(scores - nsp_scores(*given, TEXTS, PROMPTS, "prefix" if order == "suffix" else "suffix")).max() > 0.1


@pytest.mark.parametrize("batch_size", [1, 2, 4, 15, 1000])
def test_the_size_of_the_batches_does_not_matter(given, batch_size):
    whole = nsp_scores(*given, TEXTS, PROMPTS)
    np.testing.assert_allclose(nsp_scores(*given, TEXTS, PROMPTS, batch_size=batch_size), whole, atol=1e-5)


def test_batches_hold_pairs_of_like_length(given):
    shapes = []

    def pair_logits(**batch):
        shapes.append(tuple(batch["input_ids"].shape))
        return torch.zeros(len(batch["input_ids"]), 2)

    model = SimpleNamespace(pair_logits=pair_logits, config=SimpleNamespace(max_position_embeddings=24))
    nsp_scores(model, given[1], ["a " * n for n in (9, 1, 5)], ["game", "a game"], batch_size=2)
    assert shapes == [(2, 6), (2, 10), (2, 14)]
    shapes.clear()
    nsp_scores(model, given[1], ["a"] * 33, ["game"])
    assert shapes == [(32, 5), (1, 5)]


def counting_model(limit=24):
    """z_0 counts the word "game" in the first segment, z_1 in the second: scores that are known beforehand."""

    def pair_logits(input_ids, token_type_ids, attention_mask):
        game = (input_ids == WORDS.index("game")) & (attention_mask == 1)
        return torch.stack([(game & (token_type_ids == side)).sum(dim=1) for side in (0, 1)], dim=1)

    return SimpleNamespace(pair_logits=pair_logits, config=SimpleNamespace(max_position_embeddings=limit))


def test_column_0_is_is_next_and_segments_have_their_sides(given):
    known = counting_model()
    texts, prompts = ["game game game", "a"], ["game", "font", "game game"]
    assert nsp_scores(known, given[1], texts, prompts).tolist() == [[-2, -3, -1], [1, 0, 2]]
    assert nsp_scores(known, given[1], texts, prompts, "suffix").tolist() == [[2, 3, 1], [-1, 0, -2]]
    assert pair_scores(known, given[1], ["game game"], ["game"]).tolist() == [1]


def test_all_prompts_see_the_same_text(given):
    known, texts = counting_model(16), ["a " * 10 + "game game game", "game"]
    prompts = ["font", "font font", "font font font"]  # 10 tokens fit beside the longest
    said = "1 of 2 texts are longer than the 10 tokens that fit beside the longest prompt, first number 0 with 13"
    with pytest.warns(TruncationWarning, match=f"^{re.escape(said)}: their ends were cut$") as caught:
        assert nsp_scores(known, given[1], texts, prompts).tolist() == [[0] * 3, [-1] * 3]
    assert caught[0].filename == __file__
    assert nsp_scores(known, given[1], texts, prompts[:2], too_long="cut").tolist() == [[-1] * 2, [-1] * 2]
    with pytest.raises(ValueError, match=f"^texts must fit: {re.escape(said)}$"):
        nsp_scores(known, given[1], texts, prompts, too_long="error")
    assert nsp_scores(known, given[1], ["a " * 10], prompts, too_long="error").shape == (1, 3)
    found = nsp_scores(known, given[1], ["a game game"], ["font"], max_length=8, too_long="error")
    assert found.tolist() == [[-2]]
    found = nsp_scores(known, given[1], ["a game game game game"], ["font"], max_length=8, too_long="cut")
    assert found.tolist() == [[-3]]


def test_no_texts(given):
    assert nsp_scores(*given, [], PROMPTS).shape == (0, 3)
    assert nsp_scores(*given, [], PROMPTS, return_logits=True).shape == (0, 3, 2)
    assert pair_scores(*given, [], []).shape == (0,)
    assert mlm_label_scores(*given, [], ["game", "font"]).shape == (0, 2)
    assert classify(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"texts": "kill"}, TypeError, "texts must be a list of strings, got 'kill'"),
        ({"texts": [3]}, TypeError, "texts must be a list of strings, got [3]"),
        ({"texts": ["a", ""]}, ValueError, "texts must not be empty, got '' at position 1"),
        ({"prompts": "game"}, TypeError, "prompts must be a list of strings, got 'game'"),
        ({"prompts": []}, ValueError, "prompts must hold at least one prompt, got none"),
        ({"prompts": [" "]}, ValueError, "prompts must not be empty, got ' ' at position 0"),
        (
            {"prompts": ["a " * 13]},
            ValueError,
            "each prompt must have at most 12 tokens, half of max_length, got 13",
        ),
        ({"order": "infix"}, ValueError, "order must be one of ('prefix', 'suffix'), got 'infix'"),
        ({"too_long": "keep"}, ValueError, "too_long must be one of ('warn', 'cut', 'error'), got 'keep'"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        ({"max_length": 25}, ValueError, "max_length must be at most 24, the positions of the model, got 25"),
        ({"max_length": 7}, ValueError, "max_length must be an integer >= 8, got 7"),
    ],
)
def test_scores_refuse(given, change, error, message):
    arguments = {"texts": ["kill"], "prompts": ["game"], "max_length": 24} | change
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        nsp_scores(*given, **arguments)


def test_pair_scores_are_those_one_by_one(given):
    a = [*TEXTS, "game " * 15, "a"]
    b = [*reversed(TEXTS), "font " * 15, "mail " * 30]
    z = one_by_one(given, a, b)
    for batch_size in (1, 3, 64):
        np.testing.assert_allclose(pair_scores(*given, a, b, batch_size=batch_size), z[:, 0] - z[:, 1], atol=1e-5)
    short = one_by_one(given, a, b, max_length=12)
    np.testing.assert_allclose(pair_scores(*given, a, b, max_length=12), short[:, 0] - short[:, 1], atol=1e-5)
    with pytest.raises(ValueError, match=r"^a and b must have one length, got 2 and 1$"):
        pair_scores(*given, ["a", "a"], ["a"])
    with pytest.raises(ValueError, match=r"^b must not be empty, got '' at position 0$"):
        pair_scores(*given, ["a"], [""])
    with pytest.raises(TypeError, match=r"^a must be a list of strings, got 'a'$"):
        pair_scores(*given, "a", ["a"])


def test_calibration():
    scores = [[1.0, 0.0, 0.5], [3.0, 2.5, 0.0], [0.0, 0.0, 0.0]]
    assert classify(scores).tolist() == [0, 0, 0]
    bias = calibration_bias(scores)
    np.testing.assert_allclose(bias, [4 / 3, 2.5 / 3, 0.5 / 3])
    assert classify(scores, bias).tolist() == [2, 0, 2]
    assert classify(scores, [1, 0, 0.5]).tolist() == [0, 1, 1]
    assert classify(scores).dtype == np.int64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: classify([[np.nan, 1]]), "scores must be finite, got 1 NaN or infinite value(s)"),
        (lambda: classify([1.0, 2.0]), "scores must have 2 dimension(s), got shape (2,)"),
        (lambda: classify([[], []]), "scores must have at least one column, got shape (2, 0)"),
        (lambda: classify([[1, 2]], [1]), "bias must have 2 entries, one per column of scores, got 1"),
        (lambda: classify([[1, 2]], [[1, 2]]), "bias must have 1 dimension(s), got shape (1, 2)"),
        (lambda: classify([[1, 2]], [1, np.inf]), "bias must be finite, got 1 NaN or infinite value(s)"),
        (lambda: calibration_bias([[]]), "scores_ref must have at least one row and one column, got shape (1, 0)"),
    ],
)
def test_calibration_refuses(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("order", ["prefix", "suffix"])
def test_bias_of_texts_without_content(given, order):
    pairs = [([p], [t]) if order == "prefix" else ([t], [p]) for p in PROMPTS for t in ("", ".")]
    z = np.array([one_by_one(given, *pair)[0] for pair in pairs])
    s = (z[:, 0] - z[:, 1]).reshape(3, 2)
    np.testing.assert_allclose(content_free_bias(*given, PROMPTS, order, ["", "."]), s.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(content_free_bias(*given, PROMPTS, order), s[:, 0], atol=1e-5)


def test_bias_of_texts_without_content_refuses(given):
    np.testing.assert_array_equal(content_free_bias(*given, PROMPTS), content_free_bias(*given, PROMPTS, "prefix"))
    with pytest.raises(ValueError, match=r"^the scores of neutral must have at least one row"):
        content_free_bias(*given, PROMPTS, neutral=[])
    with pytest.raises(ValueError, match=r"^order must be one of \('prefix', 'suffix'\), got 'infix'$"):
        content_free_bias(*given, PROMPTS, "infix")
    with pytest.raises(ValueError, match=r"^texts must fit: 1 of 1 texts are longer than the 18 tokens"):
        content_free_bias(*given, PROMPTS, neutral=["a " * 19])
    with pytest.raises(ValueError, match=r"^prompts must not be empty, got '' at position 0$"):
        content_free_bias(*given, [""])


@pytest.mark.parametrize(("template", "order", "place"), [
    ("{}", "prefix", 1), ("a {} program", "prefix", 2), ("{}", "suffix", None), ("the fast {}", "suffix", None),
])  # fmt: skip
def test_label_scores_are_the_log_softmax_at_the_mask(given, template, order, place):
    model, tokenizer = given
    labels, before = ["game", "font", " mail"], len(template.split("{}")[0].split())
    found = mlm_label_scores(*given, TEXTS, labels, template, order, batch_size=2)
    prompt = template.replace("{}", "game")
    for row, text in zip(found, TEXTS, strict=True):
        pair = (prompt, text) if order == "prefix" else (text, prompt)
        encoded = encode_pairs(tokenizer, *([each] for each in pair))
        at = place or 2 + len(tokenizer.encode(text).ids) + before
        assert encoded["input_ids"][0, at] == WORDS.index("game")
        encoded["input_ids"][0, at] = WORDS.index("[MASK]")
        with torch.no_grad():
            due = model.mlm_logits(model(**encoded))[0, at].double().log_softmax(dim=0)
        np.testing.assert_allclose(row, due[[5, 6, 7]], atol=1e-5)


def test_label_scores_refuse(given):
    said = "labels must be one token each, since there is one [MASK], got 'fastly' = fast ##ly"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        mlm_label_scores(*given, TEXTS, ["game", "fastly"])
    for change, said in (
        ({"template": "a"}, "template must hold exactly one {}, got 'a'"),
        ({"labels": ["game", "game "]}, "labels must be distinct, got 'game' 2 times"),
        ({"order": "infix"}, "order must be one of ('prefix', 'suffix'), got 'infix'"),
        ({"too_long": "keep"}, "too_long must be one of ('warn', 'cut', 'error'), got 'keep'"),
        ({"texts": [""]}, "texts must not be empty, got '' at position 0"),
        ({"max_length": 25}, "max_length must be at most 24, the positions of the model, got 25"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            mlm_label_scores(*given, **{"texts": TEXTS, "labels": ["game"]} | change)
    with pytest.warns(TruncationWarning, match=r"^1 of 1 texts are longer than the 19 tokens") as caught:
        mlm_label_scores(*given, ["a " * 20], ["game"], "a {}")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("order", ["prefix", "suffix"])
def test_occlusion_replaces_one_token_after_the_other(given, order):
    tokens, delta = occlusion(*given, "Kill the alien fastly", "a game", order)
    assert tokens == ["kill", "the", "alien", "fast", "##ly"]
    ids = encode_pairs(given[1], ["kill the alien fastly"], ["a game"])["input_ids"][0, 1:6].tolist()

    def score(text_ids):
        prompt = [8, 5]
        a, b = (prompt, text_ids) if order == "prefix" else (text_ids, prompt)
        types = torch.tensor([[0] * (len(a) + 2) + [1] * (len(b) + 1)])
        whole = torch.tensor([[2, *a, 3, *b, 3]])
        with torch.no_grad():
            z = given[0].nsp_logits(given[0](whole, types, torch.ones_like(whole)))[0]
        return float(z[0] - z[1])

    due = [score(ids) - score([*ids[:k], 4, *ids[k + 1 :]]) for k in range(5)]
    np.testing.assert_allclose(delta, due, atol=1e-5)
    assert delta.dtype == np.float64
    assert np.abs(delta).min() > 1e-3


def test_occlusion_of_long_and_of_no_texts(given):
    tokens, delta = occlusion(*given, "alien " * 30, "a game")
    assert len(tokens) == len(delta) == 19
    tokens, _ = occlusion(*given, "alien " * 30, "a game", max_length=10)
    assert len(tokens) == 5
    for change, said in (
        ({"text": ""}, "text must not be empty, got '' at position 0"),
        ({"prompt": " "}, "prompt must not be empty, got ' ' at position 0"),
        ({"order": "infix"}, "order must be one of ('prefix', 'suffix'), got 'infix'"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            occlusion(*given, **{"text": "kill", "prompt": "game"} | change)


def test_labels_of_the_wrong_column_are_an_anti_classifier(given):
    """Ranking by NotNext gives the least fitting label, on any model."""
    logits = nsp_scores(*given, TEXTS, PROMPTS, return_logits=True)
    right = classify(logits[..., 0] - logits[..., 1])
    wrong = classify(logits[..., 1] - logits[..., 0])
    assert (right == nsp_scores(*given, TEXTS, PROMPTS).argmax(axis=1)).all()
    assert (right != wrong).all()
