"""Segments of tokens through a model: what fits, and batches of pairs of like length."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helpers.inputs import checked_integer
from helpers.nsp_encoding import Ids, padded

Scores = NDArray[np.float32]


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads."""


def longest_pair(model: Any, max_length: int | None) -> int:
    """Tokens of the longest pair, by default all positions of the model.

    Raises
    ------
    ValueError : max_length no integer >= 8, or beyond the positions.
    """
    limit = model.config.max_position_embeddings
    if max_length is not None and checked_integer("max_length", max_length, 8) > limit:
        raise ValueError(f"max_length must be at most {limit}, the positions of the model, got {max_length}")
    return limit if max_length is None else max_length


def fitting(texts: list[Ids], room: int, too_long: str) -> list[Ids]:
    """The first `room` tokens of each text; too_long as in `helpers.nsp_scoring.nsp_scores`, which calls this.

    Raises
    ------
    ValueError : a text is longer, and too_long is "error".
    """
    long = [k for k, text in enumerate(texts) if len(text) > room]
    if long and too_long != "cut":
        what = f"{len(long)} of {len(texts)} texts are longer than the {room} tokens that fit beside the longest prompt"
        what += f", first number {long[0]} with {len(texts[long[0]])}"
        if too_long == "error":
            raise ValueError(f"texts must fit: {what}")
        warnings.warn(f"{what}: their ends were cut", TruncationWarning, stacklevel=3)
    return [text[:room] for text in texts]


def in_batches(
    forward: Callable[..., Tensor], tokenizer: Any, pairs: Sequence[tuple[Ids, Ids]], batch_size: int
) -> Scores:
    """Rows forward(**batch) for each pair, in batches of like length, in the order of the pairs."""
    checked_integer("batch_size", batch_size, 1)
    order = np.argsort([len(a) + len(b) for a, b in pairs], kind="stable")
    found: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = padded(tokenizer, [pairs[k] for k in order[start : start + batch_size]])
            found.append(forward(**batch))
    rows = torch.cat(found).float().numpy() if found else np.empty((0, 2), np.float32)
    back = np.empty_like(rows)
    back[order] = rows
    return back
