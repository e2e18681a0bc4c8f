"""Texts, labels and templates as the pairs that BERT reads: [CLS] a [SEP] b [SEP], types 0 and 1, padded to one length.

Article: Su Jianlin, https://kexue.fm/archives/8671 (10 Sep 2021). Paper: Sun et al., NSP-BERT, arXiv:2109.03564. Input
format: Devlin et al. (2019), arXiv:1810.04805, Figure 2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.inputs import checked_choice, checked_integer

TEMPLATES = (
    "{}",
    "a {} program",
    "a {} package",
    "software for {}",
    "this is about {}",
    "this program belongs to {}",
    "category: {}",
    "{} tools and libraries",
)
SPECIALS = 3  # [CLS] a [SEP] b [SEP]
Ids = list[int]


class TextReport(NamedTuple):
    """What a model reads of a text: its `tokens`, how many of them are `kept`, the share of them that is `unknown`."""

    tokens: list[str]
    kept: int
    unknown: float


def encode_pairs(
    tokenizer: Any, a: Sequence[str], b: Sequence[str], max_length: int = 64, truncate: str = "longer"
) -> dict[str, Tensor]:
    """Pairs (a[i], b[i]) as BERT's input, padded on the right to the longest pair.

    Parameters
    ----------
    tokenizer : a WordPiece `tokenizers.Tokenizer`, or a BERT tokenizer of transformers. [CLS] and [SEP] are set here:
        a tokenizer without a post-processor cannot forget them.
    a, b : lists of texts of one length N; texts may be empty here.
    max_length : >= 8, tokens of the longest pair, the three special ones included.
    truncate : what is cut at its end when a pair is too long. "longer": whichever is longer, token by token;
        "a" or "b": this one only, and then the other must have at most max_length // 2 tokens.

    Returns
    -------
    dict of int64 tensors [N, L], L <= max_length: "input_ids", "token_type_ids" (0 for [CLS] a [SEP], 1 for b [SEP]),
    "attention_mask" (0 where padded).

    Raises
    ------
    TypeError : a or b is one string, or holds something else than strings.
    ValueError : lengths differ, bad max_length or truncate, a segment too long that may not be cut.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> model, tokenizer = load_tiny_bert()
    >>> encode_pairs(tokenizer, ["a game", "font"], ["a program", "mail"])["token_type_ids"].tolist()
    [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0]]
    """
    a, b = checked_texts("a", a, empty=True), checked_texts("b", b, empty=True)
    if len(a) != len(b):
        raise ValueError(f"a and b must have one length, got {len(a)} and {len(b)}")
    checked_choice("truncate", truncate, "longer", "a", "b")
    max_length = checked_integer("max_length", max_length, 8)
    pairs = zip(token_ids(tokenizer, a), token_ids(tokenizer, b), strict=True)
    return padded(tokenizer, [cut_pair(left, right, max_length, truncate) for left, right in pairs])


def cut_pair(a: Ids, b: Ids, max_length: int, truncate: str = "longer") -> tuple[Ids, Ids]:
    """Both segments, cut as `encode_pairs` says."""
    room = max_length - SPECIALS
    if truncate == "longer":
        a = a[: max(room - len(b), room - room // 2)]  # the shorter one stays whole, unless both are over half
        return a, b[: room - len(a)]
    whole = b if truncate == "a" else a
    _checked_whole("b" if truncate == "a" else "a", len(whole), max_length)
    return (a[: room - len(b)], b) if truncate == "a" else (a, b[: room - len(a)])


def _checked_whole(name: str, tokens: int, max_length: int) -> None:
    if tokens > max_length // 2:
        raise ValueError(f"{name} must have at most {max_length // 2} tokens, half of max_length, got {tokens}")


def padded(tokenizer: Any, pairs: Sequence[tuple[Ids, Ids]]) -> dict[str, Tensor]:
    """`encode_pairs` of segments that are ids already and short enough."""
    cls, sep, pad = (special_id(tokenizer, name) for name in ("cls", "sep", "pad"))
    length = max((len(a) + len(b) + SPECIALS for a, b in pairs), default=0)
    ids = np.full((len(pairs), length), pad, np.int64)
    types, mask = np.zeros_like(ids), np.zeros_like(ids)
    for row, (a, b) in enumerate(pairs):
        whole = [cls, *a, sep, *b, sep]
        ids[row, : len(whole)] = whole
        types[row, len(a) + 2 : len(whole)] = 1
        mask[row, : len(whole)] = 1
    arrays = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    """Ids of each text, without special tokens."""
    if hasattr(tokenizer, "encode_batch"):
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def tokens_of(tokenizer: Any, ids: Ids) -> list[str]:
    """The tokens as written in the vocabulary."""
    if hasattr(tokenizer, "id_to_token"):
        return [tokenizer.id_to_token(each) for each in ids]
    return tokenizer.convert_ids_to_tokens(ids)


def special_id(tokenizer: Any, name: str) -> int:
    """Id of the special token "cls", "sep", "pad", "unk" or "mask".

    Raises
    ------
    ValueError : the tokenizer has no such token.
    """
    written = f"[{name.upper()}]"
    found = (
        tokenizer.token_to_id(written) if hasattr(tokenizer, "token_to_id") else getattr(tokenizer, f"{name}_token_id")
    )
    if found is None:
        raise ValueError(f"tokenizer must have the token {written}, as BERT's have")
    return found


def text_report(tokenizer: Any, text: str, prompts: Sequence[str], max_length: int = 64) -> TextReport:
    """How much of a text is read beside the longest prompt, and how much of it the vocabulary knows.

    Parameters
    ----------
    tokenizer, max_length : as in `encode_pairs`.
    text, prompts : as in `helpers.nsp_scoring.nsp_scores`.

    Raises
    ------
    TypeError, ValueError : as `nsp_scores` for an empty text, or prompts that are too long.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> report = text_report(load_tiny_bert()[1], "play the game 世", ["a game program"], max_length=8)
    >>> report.tokens[-1], report.kept, report.unknown
    ('[UNK]', 2, 0.25)
    """
    [ids] = checked_ids("text", tokenizer, [text])
    room = room_for_texts(checked_ids("prompts", tokenizer, prompts), max_length)
    unknown = ids.count(special_id(tokenizer, "unk")) / len(ids)
    return TextReport(tokens_of(tokenizer, ids), min(len(ids), room), unknown)


def room_for_texts(prompts: Sequence[Ids], max_length: int) -> int:
    """Tokens that a text may have beside the longest prompt; the same for all prompts, so that all see the same text.

    Raises
    ------
    ValueError : a prompt with more than max_length // 2 tokens, bad max_length.
    """
    max_length = checked_integer("max_length", max_length, 8)
    longest = max(map(len, prompts), default=0)
    _checked_whole("each prompt", longest, max_length)
    return max_length - SPECIALS - longest


def fill_template(template: str, labels: Sequence[str]) -> list[str]:
    """One prompt per label: the template with the label in place of its ``{}``.

    Raises
    ------
    TypeError : template no string, labels one string or no strings.
    ValueError : not exactly one {} in the template, no labels, an empty label, two labels equal but for spaces around.

    >>> fill_template("a {} program", ["game", "font"])
    ['a game program', 'a font program']
    """
    if not isinstance(template, str):
        raise TypeError(f"template must be a string, got {type(template).__name__}")
    if template.count("{}") != 1:
        raise ValueError(f"template must hold exactly one {{}}, got {template!r}")
    names = [label.strip() for label in checked_texts("labels", labels)]
    if not names:
        raise ValueError("labels must hold at least one label, got none")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"labels must be distinct, got {twice[0]!r} {names.count(twice[0])} times")
    return [template.replace("{}", name) for name in names]


def two_stage_prompt(text: str, mention: str, template: str = "{text} here {mention} refers to") -> str:
    """The text with a pointer at one of its words: the first stage of the paper's prompts for linking (section 3.3).

    Raises
    ------
    ValueError : the mention is empty or not in the text, the template lacks {text} or {mention}.

    >>> two_stage_prompt("apple is red", "apple")
    'apple is red here apple refers to'
    """
    [text] = checked_texts("text", [text])
    if not mention or mention not in text:
        raise ValueError(f"mention must occur in the text, got {mention!r}")
    for field in ("{text}", "{mention}"):
        if template.count(field) != 1:
            raise ValueError(f"template must hold {field} once, got {template!r}")
    before, after = template.split("{text}")  # first the mention, so that a text with braces stays as it is
    return before.replace("{mention}", mention) + text + after.replace("{mention}", mention)


def checked_ids(name: str, tokenizer: Any, texts: Sequence[str], empty: bool = False) -> list[Ids]:
    """`token_ids` of checked texts; each must have a token unless empty ones are welcome."""
    texts = checked_texts(name, texts, empty)
    ids = token_ids(tokenizer, texts)
    if not empty and (blank := [k for k, each in enumerate(ids) if not each]):
        raise ValueError(f"{name} must hold something to read, got {texts[blank[0]]!r} at position {blank[0]}")
    return ids


def checked_texts(name: str, texts: Sequence[str], empty: bool = False) -> list[str]:
    """The texts as a list.

    Raises
    ------
    TypeError : one string, or something else than strings.
    ValueError : a text that is empty or only spaces, unless these are welcome.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} must be a list of strings, got {texts!r}"[:200])
    texts = list(texts)
    if not empty and (blank := [k for k, text in enumerate(texts) if not text.strip()]):
        raise ValueError(f"{name} must not be empty, got {texts[blank[0]]!r} at position {blank[0]}")
    return texts
