"""Scores of texts and prompts by a BERT with an NSP head, their calibration, and two relatives: PET and occlusion.

Article: Su Jianlin, https://kexue.fm/archives/8671 (10 Sep 2021). Paper: Sun et al., NSP-BERT, arXiv:2109.03564. PET:
Schick & Schütze (2021), arXiv:2001.07676. Calibration: Zhao et al. (2021), arXiv:2102.09690.

Both segments meet in each attention layer, so nothing is shared between two prompts of a text: N texts with C prompts
cost N C passes. What can be saved is saved: each text and prompt is tokenised once, pairs of like length share a batch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from helpers.inputs import Array, checked_array, checked_choice, checked_rows
from helpers.nsp_batches import Scores, fitting, in_batches, longest_pair
from helpers.nsp_encoding import (
    Ids,
    checked_ids,
    cut_pair,
    fill_template,
    room_for_texts,
    special_id,
    tokens_of,
)


def nsp_scores(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    prompts: Sequence[str],
    order: str = "prefix",
    *,
    batch_size: int = 32,
    max_length: int | None = None,
    too_long: str = "warn",
    return_logits: bool = False,
) -> Scores:
    """s = z_0 - z_1 = log q(IsNext) - log q(NotNext) of each text with each prompt, [N, C].

    Parameters
    ----------
    model, tokenizer : of `helpers.tiny_bert.load_tiny_bert` or `helpers.nsp_transformers.load_nsp_model`.
    texts, prompts : N texts and C prompts; C >= 1.
    order : "prefix" puts the prompt before the text, "suffix" after it.
    batch_size : pairs in one pass; changes the scores by rounding only. Larger batches leave the cache of a core.
    max_length : tokens of a pair, default what the model reads at most.
    too_long : a text with more tokens than fit beside the longest prompt loses its end, the same for all prompts:
        "warn" says so, "cut" does not, "error" refuses instead. Prompts are never cut.
    return_logits : give (z_0, z_1), [N, C, 2], instead.

    Raises
    ------
    TypeError : texts or prompts is one string, or holds something else than strings.
    ValueError : an empty text or prompt, no prompts, a prompt of more than max_length // 2 tokens, bad options.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> s = nsp_scores(*load_tiny_bert(), ["Shoot all the aliens and save the planet."], ["game", "font", "mail"])
    >>> s.shape, s.dtype
    ((1, 3), dtype('float32'))
    """
    checked_choice("order", order, "prefix", "suffix")
    checked_choice("too_long", too_long, "warn", "cut", "error")
    text_ids = checked_ids("texts", tokenizer, texts)
    prompt_ids = checked_ids("prompts", tokenizer, prompts)
    if not prompt_ids:
        raise ValueError("prompts must hold at least one prompt, got none")
    text_ids = fitting(text_ids, room_for_texts(prompt_ids, longest_pair(model, max_length)), too_long)
    logits = _all_pairs(model, tokenizer, text_ids, prompt_ids, order, batch_size)
    return logits if return_logits else logits[..., 0] - logits[..., 1]


def _all_pairs(model: Any, tokenizer: Any, texts: list[Ids], prompts: list[Ids], order: str, batch_size: int) -> Scores:
    """Logits [N, C, 2]."""
    pairs = [(prompt, text) if order == "prefix" else (text, prompt) for text in texts for prompt in prompts]
    return in_batches(model.pair_logits, tokenizer, pairs, batch_size).reshape(len(texts), len(prompts), 2)


def pair_scores(
    model: Any,
    tokenizer: Any,
    a: Sequence[str],
    b: Sequence[str],
    *,
    batch_size: int = 32,
    max_length: int | None = None,
) -> Scores:
    """s = z_0 - z_1 of the pairs (a[i], b[i]), [N]: one score per sample, or candidates that differ in length.

    Parameters
    ----------
    model, tokenizer, batch_size, max_length : as in `nsp_scores`.
    a, b : first and second segments. Where a pair is too long, the longer of the two loses its end.

    Raises
    ------
    TypeError, ValueError : as `nsp_scores`; lengths of a and b that differ.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> a, b = ["a game of chess", "a game of chess"], ["play against the computer", "reads mail"]
    >>> bool(np.diff(pair_scores(*load_tiny_bert(), a, b)) < 0)
    True
    """
    first, second = checked_ids("a", tokenizer, a), checked_ids("b", tokenizer, b)
    if len(first) != len(second):
        raise ValueError(f"a and b must have one length, got {len(first)} and {len(second)}")
    length = longest_pair(model, max_length)
    pairs = [cut_pair(left, right, length) for left, right in zip(first, second, strict=True)]
    logits = in_batches(model.pair_logits, tokenizer, pairs, batch_size)
    return logits[:, 0] - logits[:, 1]


def calibration_bias(scores_ref: ArrayLike) -> Array:
    """b_c = mean of s(x', c) over unlabelled texts x', for [M, C] scores: what each label gets whatever the text says.

    Raises
    ------
    ValueError : scores_ref without rows or columns, or not finite.

    >>> calibration_bias([[1.0, -4.0], [3.0, -2.0]]).tolist()
    [2.0, -3.0]
    """
    return checked_rows("scores_ref", scores_ref).mean(axis=0)


def content_free_bias(
    model: Any, tokenizer: Any, prompts: Sequence[str], order: str = "prefix", neutral: Sequence[str] = ("",)
) -> Array:
    """b_c = mean of s(x', c) over texts x' that say nothing, by default the empty one; [C].

    Parameters
    ----------
    model, tokenizer, prompts, order : as in `nsp_scores`.
    neutral : texts without content, such as "" or "...".

    Raises
    ------
    TypeError, ValueError : as `nsp_scores`, but texts may be empty; no neutral texts.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> content_free_bias(*load_tiny_bert(), ["game", "font"]).shape
    (2,)
    """
    checked_choice("order", order, "prefix", "suffix")
    texts, asked = checked_ids("neutral", tokenizer, neutral, empty=True), checked_ids("prompts", tokenizer, prompts)
    texts = fitting(texts, room_for_texts(asked, longest_pair(model, None)), "error")
    logits = _all_pairs(model, tokenizer, texts, asked, order, 32)
    return checked_rows("the scores of neutral", logits[..., 0] - logits[..., 1]).mean(axis=0)


def classify(scores: ArrayLike, bias: ArrayLike | None = None) -> NDArray[np.int64]:
    """argmax_c s(x, c) - b_c for each row of scores [N, C]; the first of equal ones.

    Parameters
    ----------
    scores : [N, C]; N = 0 is welcome.
    bias : [C], default 0.

    Raises
    ------
    ValueError : NaN or infinite scores, no columns, a bias of another length.

    >>> classify([[1.0, 2.0], [5.0, 0.0]], bias=[0.0, 3.0]).tolist()
    [0, 0]
    """
    scores = checked_array("scores", scores, 2)
    if scores.shape[1] == 0:
        raise ValueError(f"scores must have at least one column, got shape {scores.shape}")
    offset = np.zeros(scores.shape[1]) if bias is None else checked_array("bias", bias, 1)
    if len(offset) != scores.shape[1]:
        raise ValueError(f"bias must have {scores.shape[1]} entries, one per column of scores, got {len(offset)}")
    return (scores - offset).argmax(axis=1)


def mlm_label_scores(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[str],
    template: str = "{}",
    order: str = "prefix",
    *,
    batch_size: int = 32,
    max_length: int | None = None,
    too_long: str = "warn",
) -> Scores:
    """log p(label | text, template with [MASK]) of the masked-language head, [N, C]: the PET prompt without training.

    Parameters
    ----------
    model, tokenizer, texts, order, batch_size, max_length, too_long : as in `nsp_scores`.
    labels : each one token of the vocabulary.
    template : with one ``{}``, where the mask stands.

    Raises
    ------
    TypeError, ValueError : as `nsp_scores` and `helpers.nsp_encoding.fill_template`; a label that is not one token (a
        limit of the method: there is one mask); a model without a masked-language head.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> logp = mlm_label_scores(*load_tiny_bert(), ["Shoot all the aliens."], ["game", "font"], "a {} program")
    >>> logp.shape, bool((logp < 0).all())
    ((1, 2), True)
    """
    checked_choice("order", order, "prefix", "suffix")
    checked_choice("too_long", too_long, "warn", "cut", "error")
    fill_template(template, labels)
    label_ids = checked_ids("labels", tokenizer, [label.strip() for label in labels])
    for label, ids in zip(labels, label_ids, strict=True):
        if len(ids) != 1:
            split = " ".join(tokens_of(tokenizer, ids))
            raise ValueError(f"labels must be one token each, since there is one [MASK], got {label!r} = {split}")
    mask = special_id(tokenizer, "mask")
    before, after = (checked_ids("template", tokenizer, [part], empty=True)[0] for part in template.split("{}"))
    prompt = [*before, mask, *after]
    given = checked_ids("texts", tokenizer, texts)
    given = fitting(given, room_for_texts([prompt], longest_pair(model, max_length)), too_long)
    pairs = [(prompt, text) if order == "prefix" else (text, prompt) for text in given]
    columns = [ids[0] for ids in label_ids]

    def forward(input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        h = model(input_ids, token_type_ids, attention_mask)
        prompt_at = 1 if order == "prefix" else token_type_ids.argmax(dim=1)  # a text may hold the word [MASK] as well
        return model.mlm_logits(h[torch.arange(len(h)), prompt_at + len(before)]).log_softmax(dim=1)[:, columns]

    rows = in_batches(forward, tokenizer, pairs, batch_size)
    return rows if len(given) else np.empty((0, len(columns)), np.float32)


def occlusion(
    model: Any,
    tokenizer: Any,
    text: str,
    prompt: str,
    order: str = "prefix",
    *,
    max_length: int | None = None,
) -> tuple[list[str], Array]:
    """How much each token of the text adds to s(text, prompt): s minus s with this token replaced by [MASK].

    Parameters
    ----------
    model, tokenizer, order, max_length : as in `nsp_scores`. What does not fit of the text is cut and not listed.

    Returns
    -------
    tokens : list of L tokens that were read.
    delta : [L], positive where the token speaks for the prompt.

    Raises
    ------
    TypeError, ValueError : as `nsp_scores`.

    >>> from helpers.tiny_bert import load_tiny_bert
    >>> tokens, delta = occlusion(*load_tiny_bert(), "a game of chess", "game")
    >>> tokens, delta.shape
    (['a', 'game', 'of', 'chess'], (4,))
    """
    checked_choice("order", order, "prefix", "suffix")
    [asked], [ids] = checked_ids("prompt", tokenizer, [prompt]), checked_ids("text", tokenizer, [text])
    ids = ids[: room_for_texts([asked], longest_pair(model, max_length))]
    mask = special_id(tokenizer, "mask")
    variants = [ids, *([*ids[:k], mask, *ids[k + 1 :]] for k in range(len(ids)))]
    logits = _all_pairs(model, tokenizer, variants, [asked], order, len(variants))[:, 0]
    scores = (logits[:, 0] - logits[:, 1]).astype(np.float64)
    return tokens_of(tokenizer, ids), scores[0] - scores[1:]
