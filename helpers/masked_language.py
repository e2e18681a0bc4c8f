"""A masked language model small enough to train in seconds, and the artificial language it learns.

Article: Su Jianlin, https://kexue.fm/archives/8747 (8 Nov 2021). Model: BERT (Devlin et al. 2019), arXiv:1810.04805.
The task is synthetic so that one core sees the effects of depth, initialisation and warm-up within seconds.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.inputs import checked_integer, checked_number
from helpers.optimizer_steps import linear_warmup
from helpers.residual_tower import ResidualTower, dense, fill_

Tokens = NDArray[np.int64]
Mask = NDArray[np.bool_]


class PermutationChain:
    """Sequences in which the next token is π(token), for a fixed random permutation π, or, sometimes, any token.

    With the probability `noise` the next token is uniform over all. A token is known from either neighbour but for the
    noise; who sees no order is left with the bag of visible tokens.

    Parameters
    ----------
    vocab : number of tokens V >= 2.
    noise : in [0, 1].
    seed : of the permutation.

    Raises
    ------
    ValueError : vocab no integer >= 2, seed no integer >= 0, noise outside [0, 1].

    >>> chain = PermutationChain(4, 0.0, seed=0)
    >>> x = chain.sample(1, 9, np.random.default_rng(0))
    >>> bool((x[:, 1:] == chain.permutation[x[:, :-1]]).all())
    True
    """

    def __init__(self, vocab: int, noise: float = 0.1, seed: int = 0) -> None:
        self.vocab = checked_integer("vocab", vocab, 2)
        self.noise = checked_number("noise", noise, "in [0, 1]", lambda value: 0 <= value <= 1)
        self.permutation = np.random.default_rng(checked_integer("seed", seed, 0)).permutation(self.vocab)

    def sample(self, batch: int, length: int, rng: np.random.Generator) -> Tokens:
        """Sequences [batch, length]; the first token is uniform."""
        batch, length = checked_integer("batch", batch, 1), checked_integer("length", length, 1)
        x = rng.integers(0, self.vocab, (batch, length))
        follows = rng.random((batch, length)) >= self.noise
        for t in range(1, length):
            x[:, t] = np.where(follows[:, t], self.permutation[x[:, t - 1]], x[:, t])
        return x


def mask_tokens(x: ArrayLike, p: float, mask_id: int, rng: np.random.Generator) -> tuple[Tokens, Mask, Tokens]:
    """(inputs, mask, targets) of x [batch, n]: each token is replaced by mask_id with probability p; targets are x.

    A row without any mask has its first token masked, so that each row counts in the loss.

    Raises
    ------
    ValueError : x not a 2-D array of integers, p outside (0, 1).

    >>> inputs, mask, targets = mask_tokens([[3, 1, 2]], 1e-9, 4, np.random.default_rng(0))
    >>> inputs.tolist(), mask.tolist(), targets.tolist()
    ([[4, 1, 2]], [[True, False, False]], [[3, 1, 2]])
    """
    targets = np.asarray(x)
    if targets.ndim != 2 or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"x must be a 2-D array of integers, got {targets.dtype} of shape {targets.shape}")
    targets = targets.astype(np.int64)
    p = checked_number("p", p, "in (0, 1)", lambda value: 0 < value < 1)
    mask = rng.random(targets.shape) < p
    mask[~mask.any(axis=1), 0] = True
    return np.where(mask, mask_id, targets), mask, targets


class MaskedLanguageModel(nn.Module):
    """BERT in small: embeddings, Norm, a tower of 2 n_layers branches, optionally Dense + GELU + Norm, tied softmax.

    Parameters
    ----------
    vocab : number of tokens; the token number `vocab` is the mask.
    max_len : longest sequence.
    n_layers, d_model, n_heads, d_ff, placement, init_std : of the `ResidualTower`; init_std also of the embeddings.
    head : with the Dense + GELU + Norm between tower and softmax that BERT has. It starts with gain 1 like any Norm.
    tower : further arguments of `ResidualTower`, such as attention="t5" or generator.

    Raises
    ------
    ValueError : sizes that are no integers >= 1 (vocab >= 2), as in `ResidualTower`.

    >>> model = MaskedLanguageModel(5, 4, 2, 8, 2, 16, "post", 0.1, generator=torch.Generator().manual_seed(0))
    >>> model(np.array([[0, 5, 2]])).shape, model.hidden(np.array([[0, 5, 2]])).shape
    (torch.Size([1, 3, 5]), torch.Size([1, 3, 8]))
    """

    def __init__(
        self,
        vocab: int,
        max_len: int,
        n_layers: int,
        d_model: int,
        n_heads: int,
        d_ff: int | None,
        placement: str,
        init_std: float,
        head: bool = True,
        **tower: Any,
    ) -> None:
        super().__init__()
        self.vocab, self.max_len = checked_integer("vocab", vocab, 2), checked_integer("max_len", max_len, 1)
        depth = 2 * checked_integer("n_layers", n_layers, 0)
        self.tower = ResidualTower(depth, d_model, placement, init_std=init_std, n_heads=n_heads, d_ff=d_ff, **tower)
        self.tokens = nn.Embedding.from_pretrained(torch.empty(vocab + 1, d_model), freeze=False)
        self.positions = nn.Embedding.from_pretrained(torch.empty(max_len, d_model), freeze=False)
        self.embedding_norm = nn.LayerNorm(d_model)
        self.head_dense = dense(d_model, d_model) if head else None
        self.head_norm = nn.LayerNorm(d_model) if head else None
        self.bias = nn.Parameter(torch.zeros(vocab))
        self.to(tower.get("dtype", torch.float32))
        for layer in (self.tokens, self.positions, *([self.head_dense] if head else [])):
            fill_(layer.weight, init_std, tower.get("truncated", True), tower.get("generator"))

    def hidden(self, inputs: ArrayLike) -> Tensor:
        """Output of the tower [batch, n, d_model] for tokens [batch, n]."""
        inputs = torch.as_tensor(inputs, dtype=torch.int64)
        if inputs.ndim != 2 or inputs.shape[1] > self.max_len:
            raise ValueError(f"inputs must have shape [batch, n <= {self.max_len}], got {tuple(inputs.shape)}")
        embedded = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        return self.tower(self.embedding_norm(embedded))

    def forward(self, inputs: ArrayLike) -> Tensor:
        """Logits [batch, n, vocab] for tokens [batch, n] in 0..vocab, vocab being the mask."""
        h = self.hidden(inputs)
        if self.head_dense is not None:
            h = self.head_norm(F.gelu(self.head_dense(h)))
        return F.linear(h, self.tokens.weight[: self.vocab], self.bias)

    def loss(self, inputs: ArrayLike, mask: ArrayLike, targets: ArrayLike) -> Tensor:
        """Mean cross-entropy in nats at the masked positions; arguments [batch, n] as `mask_tokens` returns them."""
        masked = torch.as_tensor(mask)
        return F.cross_entropy(self(inputs)[masked], torch.as_tensor(targets)[masked])


def train_mlm(
    model: MaskedLanguageModel,
    chain: PermutationChain,
    steps: int,
    lr: float,
    warmup_steps: int = 0,
    *,
    batch: int = 32,
    length: int = 8,
    mask_rate: float = 0.15,
    seed: int = 0,
    optimizer: Callable[[MaskedLanguageModel], torch.optim.Optimizer] | None = None,
    probe: Callable[[MaskedLanguageModel, int], Mapping[str, Any] | None] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Train in place on fresh sequences in each step, with linear warm-up and then a constant learning rate.

    Parameters
    ----------
    model, chain : the chain has a vocabulary of the model's size, or smaller.
    steps, lr : number of steps and peak learning rate of Adam.
    warmup_steps : see `linear_warmup`; 0 for none.
    batch, length, mask_rate : of the sequences and their masks.
    seed : of the data alone. Two runs with one seed see the same batches.
    optimizer : makes another optimiser than torch.optim.Adam(model.parameters(), lr); the learning rates of its groups
        then take the place of lr.
    probe : called with (model, step) before each step; what it returns, if anything, is kept in "trace". It may also
        change the model, such as by model.tower.set_alpha(schedule(step)).
    progress : wraps the range of the steps, for a progress bar.

    Returns
    -------
    dict with "loss", the loss of each step [steps], and "trace", a dict of lists: "step" and what probe returned.

    Raises
    ------
    ValueError : steps, warmup_steps, batch, length or seed no integers in range, lr <= 0, mask_rate outside (0, 1), a
        length beyond the model's, a chain with more tokens than the model.
    FloatingPointError : the loss is not finite.

    >>> model = MaskedLanguageModel(4, 8, 1, 16, 2, 32, "pre", 0.1, generator=torch.Generator().manual_seed(0))
    >>> result = train_mlm(model, PermutationChain(4), 3, 1e-3, probe=lambda model, step: {"double": 2 * step})
    >>> len(result["loss"]), result["trace"]
    (3, {'step': [0, 1, 2], 'double': [0, 2, 4]})
    """
    steps, seed = checked_integer("steps", steps, 0), checked_integer("seed", seed, 0)
    lr = checked_number("lr", lr, "a finite number > 0", lambda value: 0 < value < math.inf)
    linear_warmup(0, warmup_steps, lr)
    if chain.vocab > model.vocab:
        raise ValueError(f"chain must have at most {model.vocab} tokens, those of the model, got {chain.vocab}")
    rng = np.random.default_rng(seed)
    steered = torch.optim.Adam(model.parameters(), lr, fused=True) if optimizer is None else optimizer(model)
    peaks = [group["lr"] for group in steered.param_groups]
    losses, trace = np.empty(steps), {"step": []}
    for step in progress(range(steps)):
        found = probe(model, step) if probe is not None else None
        if found is not None:
            trace["step"].append(step)
            for name, value in found.items():
                trace.setdefault(name, []).append(value)
        for group, peak in zip(steered.param_groups, peaks, strict=True):
            group["lr"] = linear_warmup(step, warmup_steps, peak)
        loss = model.loss(*mask_tokens(chain.sample(batch, length, rng), mask_rate, model.vocab, rng))
        losses[step] = loss.item()
        if not math.isfinite(losses[step]):
            raise FloatingPointError(f"the loss must stay finite, got {losses[step]} in step {step}")
        steered.zero_grad()
        loss.backward()
        steered.step()
    return {"loss": losses, "trace": trace}
