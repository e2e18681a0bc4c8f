"""Pairs as BERT reads them, beside the post-processor and the truncation of the tokenizers library."""

import numpy as np
import pytest
import torch
from tokenizers import processors

from helpers.nsp_encoding import (
    TEMPLATES,
    checked_texts,
    encode_pairs,
    fill_template,
    special_id,
    text_report,
    two_stage_prompt,
)
from tests.small_bert import WORDS, small_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


def random_texts(rng, n, longest):
    return [" ".join(rng.choice(WORDS[5:16], rng.integers(0, longest))) for _ in range(n)]


def test_a_pair_by_hand(tokenizer):
    found = encode_pairs(tokenizer, ["A game", "font"], ["Aliens.", ""])
    assert {name: each.dtype for name, each in found.items()} == dict.fromkeys(found, torch.int64)
    assert found["input_ids"].tolist() == [[2, 8, 5, 3, 12, 16, 19, 3], [2, 6, 3, 3, 0, 0, 0, 0]]
    assert found["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1] * 8, [1] * 4 + [0] * 4]


@pytest.mark.parametrize("max_length", [8, 11, 12, 24])
def test_pairs_are_those_of_the_tokenizers_library(tokenizer, max_length):
    """Oracle: TemplateProcessing with truncation "longest_first", which takes tokens one at a time."""
    peer = small_tokenizer()
    peer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    peer.enable_truncation(max_length, strategy="longest_first")
    peer.enable_padding()
    rng = np.random.default_rng(max_length)
    a, b = random_texts(rng, 60, 14), random_texts(rng, 60, 14)
    found = encode_pairs(tokenizer, a, b, max_length)
    due = peer.encode_batch(list(zip(a, b, strict=True)))
    assert found["input_ids"].shape[1] == max_length
    lengths = [sum(each.attention_mask) for each in due]
    assert found["attention_mask"].sum(dim=1).tolist() == lengths
    whole = [
        k for k in range(60) if len(tokenizer.encode(a[k]).ids) + len(tokenizer.encode(b[k]).ids) + 3 <= max_length
    ]
    shorter_kept = [
        k for k in range(60) if min(len(tokenizer.encode(t).ids) for t in (a[k], b[k])) <= (max_length - 3) // 2
    ]
    assert 0 < len(whole) < len(shorter_kept) < 60 or max_length == 24
    for k in {*whole, *shorter_kept}:
        assert found["input_ids"][k].tolist() == due[k].ids
        assert found["token_type_ids"][k].tolist() == [
            t * m for t, m in zip(due[k].type_ids, due[k].attention_mask, strict=True)
        ]


def test_both_over_half_are_cut_to_halves(tokenizer):
    found = encode_pairs(tokenizer, ["game " * 9], ["font " * 8], 10)["input_ids"]
    assert found.tolist() == [[2, 5, 5, 5, 5, 3, 6, 6, 6, 3]]
    assert encode_pairs(tokenizer, ["game " * 8], ["font " * 9], 10)["input_ids"].tolist() == found.tolist()


@pytest.mark.parametrize("side", ["a", "b"])
def test_only_the_named_side_is_cut(tokenizer, side):
    text, prompt = "kill all the alien fast read type", "a game program ."
    given = (text, prompt) if side == "a" else (prompt, text)
    [ids] = encode_pairs(tokenizer, [given[0]], [given[1]], 10, side)["input_ids"].tolist()
    kept, whole = [10, 11, 15], [8, 5, 9, 19]
    assert ids == ([2, *kept, 3, *whole, 3] if side == "a" else [2, *whole, 3, *kept, 3])
    [short] = encode_pairs(tokenizer, ["game"], ["font"], 10, side)["input_ids"].tolist()
    assert short == [2, 5, 3, 6, 3]


def test_the_other_side_may_fill_half(tokenizer):
    assert encode_pairs(tokenizer, ["a"], ["game " * 5], 10, "a")["input_ids"].shape == (1, 9)
    for side, other in (("a", "b"), ("b", "a")):
        given = {side: ["a"], other: ["game " * 6]}
        with pytest.raises(ValueError, match=f"^{other} must have at most 5 tokens, half of max_length, got 6$"):
            encode_pairs(tokenizer, **given, max_length=10, truncate=side)


def test_no_pairs(tokenizer):
    assert encode_pairs(tokenizer, [], [])["input_ids"].shape == (0, 0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": "game"}, TypeError, "a must be a list of strings, got 'game'"),
        ({"b": ["font", 3]}, TypeError, r"b must be a list of strings, got \['font', 3\]"),
        ({"b": ["font", "mail"]}, ValueError, "a and b must have one length, got 1 and 2"),
        ({"truncate": "both"}, ValueError, r"truncate must be one of \('longer', 'a', 'b'\), got 'both'"),
        ({"max_length": 7}, ValueError, "max_length must be an integer >= 8, got 7"),
    ],
)
def test_encode_pairs_refuses(tokenizer, change, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        encode_pairs(tokenizer, **{"a": ["game"], "b": ["font"]} | change)


def test_a_tokenizer_without_special_tokens_is_refused():
    from tokenizers import Tokenizer, models

    bare = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "a": 2}, unk_token="[UNK]"))
    assert special_id(bare, "cls") == 1
    with pytest.raises(ValueError, match=r"^tokenizer must have the token \[SEP\], as BERT's have$"):
        encode_pairs(bare, ["a"], ["a"])


def test_report_of_a_text(tokenizer):
    report = text_report(tokenizer, "Kill all mushrooms fastly", ["game", "a game program"], 8)
    assert report.tokens == ["kill", "all", "[UNK]", "fast", "##ly"]
    assert (report.kept, report.unknown) == (2, 0.2)
    assert text_report(tokenizer, "kill", ["game"], 8) == (["kill"], 1, 0.0)
    with pytest.raises(ValueError, match=r"^each prompt must have at most 4 tokens, half of max_length, got 5$"):
        text_report(tokenizer, "kill", ["a", "game " * 5], 8)
    assert text_report(tokenizer, "kill all", ["game " * 4], 8).kept == 1
    with pytest.raises(ValueError, match=r"^text must not be empty, got '  ' at position 0$"):
        text_report(tokenizer, "  ", ["game"])
    with pytest.raises(ValueError, match=r"^text must hold something to read, got '\\u200b' at position 0$"):
        text_report(tokenizer, "\u200b", ["game"])


def test_templates():
    assert len(set(TEMPLATES)) == 8
    for template in TEMPLATES:
        assert fill_template(template, ["game", " font "]) == [template.replace("{}", c) for c in ("game", "font")]
    assert fill_template("{} in {braces}", ["x"]) == ["x in {braces}"]


@pytest.mark.parametrize(
    ("template", "labels", "error", "message"),
    [
        ("a program", ["game"], ValueError, r"template must hold exactly one \{\}, got 'a program'"),
        ("{} or {}", ["game"], ValueError, r"template must hold exactly one \{\}, got '\{\} or \{\}'"),
        (None, ["game"], TypeError, "template must be a string, got NoneType"),
        ("{}", [], ValueError, "labels must hold at least one label, got none"),
        ("{}", "game", TypeError, "labels must be a list of strings, got 'game'"),
        ("{}", ["game", " "], ValueError, "labels must not be empty, got ' ' at position 1"),
        ("{}", ["b", "a", "b ", "a", "b"], ValueError, "labels must be distinct, got 'a' 2 times"),
        ("{}", ["b", "c", "b "], ValueError, "labels must be distinct, got 'b' 2 times"),
    ],
)
def test_templates_refuse(template, labels, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        fill_template(template, labels)


def test_two_stages():
    assert two_stage_prompt("I eat {mention} apple", "apple") == "I eat {mention} apple here apple refers to"
    assert two_stage_prompt("x y", "y", "{mention}: {text}, {text}".replace(", {text}", "")) == "y: x y"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("apple is red", "pear"), "mention must occur in the text, got 'pear'"),
        (("apple is red", ""), "mention must occur in the text, got ''"),
        ((" ", " "), "text must not be empty, got ' ' at position 0"),
        (("a", "a", "{text} here"), r"template must hold \{mention\} once, got '\{text\} here'"),
        (
            ("a", "a", "{mention} {text} {text}"),
            r"template must hold \{text\} once, got '\{mention\} \{text\} \{text\}'",
        ),
    ],
)
def test_two_stages_refuse(given, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        two_stage_prompt(*given)


def test_long_wrong_values_are_not_repeated_whole():
    with pytest.raises(TypeError) as caught:
        checked_texts("texts", "long " * 100)
    assert len(str(caught.value)) == 200
