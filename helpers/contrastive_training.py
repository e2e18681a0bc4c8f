"""Contrastive training of small encoders on 8x8 images: many seeds at once, the same start and views for every loss.

Article: Su Jianlin, https://kexue.fm/archives/8586 (26 Jul 2021). The set-up is SimCLR (Chen et al. 2020),
https://arxiv.org/abs/2002.05709, shrunk to the digits of scikit-learn: an encoder 64-128-32 whose output h is judged,
a projection head 32-32-16 whose output, divided by its norm, is z, and scores z_i z_j over the temperature.

Seeds are stacked in a leading dimension and share nothing but the arithmetic. What a seed starts from and sees depends
on the seed, the batch size and the step alone, so that runs with different losses can be compared in pairs.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers import contrastive_losses
from helpers.inputs import checked_choice, checked_integer, checked_number

LOSSES = ("cross-entropy", "exact", "FlatNCE", "log of the batch mean", "xi")
LAYERS = ((64, 128), (128, 32), (32, 32), (32, 16))  # (inputs, outputs): two of the encoder, two of the head
RECORD_EVERY = 10  # steps from one record of xi to the next
_VIEWS_AT_ONCE = 1024  # per seed: many small calls would cost more than what they compute


class Encoders(NamedTuple):
    """Weights [seeds, inputs, outputs] and biases [seeds, 1, outputs] of the four layers."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def h(self, x: Tensor) -> Tensor:
        """Features [seeds, n, 32] of images [seeds, n, 64], or of the same images [n, 64] for every seed."""
        x = x.to(self.weights[0].dtype).expand(len(self.weights[0]), -1, -1)
        return self._layer(1, self._layer(0, x).relu())

    def z(self, x: Tensor) -> Tensor:
        """Unit vectors [seeds, n, 16], on which the loss works, of the same inputs."""
        return F.normalize(self._layer(3, self._layer(2, self.h(x)).relu()), dim=-1)

    def _layer(self, k: int, x: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[k], x, self.weights[k])


class Training(NamedTuple):
    """Trained encoders, the loss [steps, seeds], and log10 xi of every anchor [records, seeds, 2 batch_size].

    The first record of xi is that of the first step, the next `RECORD_EVERY` steps later.
    """

    encoders: Encoders
    losses: Tensor
    log10_xi: Tensor


def augment(x: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """A random view of each image: an affine map (bilinear, zero outside), a change of contrast, noise.

    At strength 1 the angle is within ±0.35 rad, scale within 1±0.2, shear and both shifts within ±0.3 (the image spans
    -1 to 1), contrast within 1±0.2, all uniform; the noise of a pixel is uniform with standard deviation 0.05.
    All of these widths are multiplied by `strength`; 0 gives the images back.

    Parameters
    ----------
    x : images [..., 64] of 8x8 pixels, float32 or float64, pixels from 0 to 1.
    generator : source of the randomness; 70 numbers per image, in the order of the images.
    strength : >= 0.

    Raises
    ------
    ValueError : x not a float32 or float64 tensor [..., 64] with an image, or not finite; bad strength.

    >>> augment(torch.ones(5, 64), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 64])
    """
    _check_images("x", x)
    strength = checked_number("strength", strength, "a finite number >= 0", lambda number: 0 <= number < math.inf)
    # Uniform numbers of single precision are the same bits on every processor, normal ones are not.
    u = strength * (2 * torch.rand(x[..., 0].numel(), 70, generator=generator) - 1).to(x.dtype)
    angle, shear, scale = 0.35 * u[:, 0], 0.3 * u[:, 1], 1 + 0.2 * u[:, 2]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = (cos, shear * cos - sin, 0.3 * u[:, 3], sin, shear * sin + cos, 0.3 * u[:, 4])
    centre = (2 * torch.arange(8, dtype=x.dtype) + 1) / 8 - 1
    pixels = torch.stack([centre.repeat(8), centre.repeat_interleave(8), torch.ones(64, dtype=x.dtype)])
    grid = (torch.stack(rows, dim=1).unflatten(1, (2, 3)) @ pixels).unflatten(2, (8, 8)).permute(0, 2, 3, 1)
    moved = F.grid_sample(x.reshape(-1, 1, 8, 8), grid, align_corners=False).flatten(1)
    return ((1 + 0.2 * u[:, 5:6]) * moved + 0.05 * 3**0.5 * u[:, 6:]).reshape(x.shape)


def two_view_augment(x: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Two independent views of each of n images: x [..., n, 64] gives [..., 2n, 64], rows i and n + i of image i.

    Parameters and errors are those of `augment`; the order is that of `contrastive.nt_xent_scores`.

    >>> two_view_augment(torch.ones(5, 64), torch.Generator().manual_seed(0)).shape
    torch.Size([10, 64])
    """
    return augment(torch.cat([x, x], dim=-2), generator, strength)


def train_encoders(
    images: Tensor,
    loss: str,
    batch_size: int,
    steps: int,
    seeds: Sequence[int],
    *,
    temperature: float = 0.1,
    learning_rate: float = 1e-3,
    adam_eps: float = 1e-8,
    strength: float = 1.0,
    negatives: int | None = None,
    optimizer: str = "Adam",
    dtype: torch.dtype = torch.float32,
    score_dtype: torch.dtype | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Training:
    """Train one encoder per seed on batches of 2 batch_size views.

    Parameters
    ----------
    images : [n, 64], float32 or float64, pixels from 0 to 1.
    loss : one of `LOSSES`: torch's cross entropy, InfoNCE without its rounding, log xi, the log of the batch mean of
        InfoNCE, or xi itself; but for the fourth, the mean over the anchors of the batch.
    batch_size : N from 2 to n; each of the 2N views is an anchor. Batches are drawn without replacement in every epoch.
    steps : updates, >= 0.
    seeds : different integers >= 0.
    temperature, learning_rate, adam_eps, strength : > 0, > 0, > 0 and (of the views, see `augment`) >= 0.
    negatives : of each anchor, 1 to 2N - 2; None takes all. Fewer are the views of the images that follow in the batch.
    optimizer : "Adam", or "SGD" with momentum 0.9.
    dtype : of weights and views, torch.float32 or torch.float64.
    score_dtype : rounds z and the scores, torch.float16 or torch.bfloat16; "cross-entropy" then works in it, the other
        losses in float32. None leaves them in `dtype`.
    progress : wraps the range of steps, for a progress bar.

    Raises
    ------
    ValueError : any of these out of its range.

    >>> run = train_encoders(torch.eye(64), "FlatNCE", batch_size=4, steps=20, seeds=[0, 1, 2])
    >>> run.losses.shape, run.log10_xi.shape
    (torch.Size([20, 3]), torch.Size([2, 3, 8]))
    """
    _check_images("images", images)
    if images.ndim != 2:
        raise ValueError(f"images must have 2 dimensions, got shape {tuple(images.shape)}")
    checked_choice("loss", loss, *LOSSES)
    if checked_integer("batch_size", batch_size, 2) > len(images):
        raise ValueError(f"batch_size must be at most the number of images ({len(images)}), got {batch_size}")
    checked_integer("steps", steps, 0)
    if not len(seeds) or len({checked_integer("seeds", seed, 0) for seed in seeds}) < len(seeds):
        raise ValueError(f"seeds must be one or more different integers, got {seeds!r}")
    for name, rate in (("temperature", temperature), ("learning_rate", learning_rate), ("adam_eps", adam_eps)):
        checked_number(name, rate, "a finite number > 0", lambda number: 0 < number < math.inf)
    if negatives is not None and checked_integer("negatives", negatives, 1) > 2 * batch_size - 2:
        raise ValueError(f"negatives must be at most 2 batch_size - 2 = {2 * batch_size - 2}, got {negatives}")
    checked_choice("optimizer", optimizer, "Adam", "SGD")
    checked_choice("dtype", dtype, torch.float32, torch.float64)
    checked_choice("score_dtype", score_dtype, None, torch.float16, torch.bfloat16)

    parameters = [torch.stack(same).requires_grad_() for same in zip(*(_start(s, dtype) for s in seeds), strict=True)]
    encoders = Encoders(tuple(parameters[:4]), tuple(parameters[4:]))
    if optimizer == "Adam":
        descent = torch.optim.Adam(parameters, lr=learning_rate, eps=adam_eps, fused=True)
    else:
        descent = torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, fused=True)
    sources = [_views(images.to(dtype), batch_size, seed, strength) for seed in seeds]
    columns = _columns(batch_size, negatives).expand(len(seeds), -1, -1)
    losses = torch.empty(steps, len(seeds), dtype=dtype)
    log10_xi = torch.empty(-(-steps // RECORD_EVERY), len(seeds), 2 * batch_size, dtype=dtype)
    views: list[Tensor] = []
    for step in progress(range(steps)):
        if not views:
            views = [*torch.stack([next(source) for source in sources], dim=1).flip(0)]
        z = encoders.z(views.pop()).to(score_dtype or dtype)
        scores = (z @ z.mT / temperature).gather(2, columns)
        if step % RECORD_EVERY == 0:
            log10_xi[step // RECORD_EVERY] = _per_anchor(contrastive_losses.log_xi, scores.detach()) / math.log(10)
        value = _loss(loss, scores)
        losses[step] = value.detach()
        descent.zero_grad()
        value.sum().backward()
        descent.step()
    for parameter in parameters:
        parameter.requires_grad_(False)
    return Training(encoders, losses, log10_xi)


def train_three_vectors(
    temperature: float,
    optimizer: str = "Adam",
    adam_eps: float = 1e-8,
    *,
    steps: int = 200,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Cosines of an anchor with its positive and its one negative before each step [steps, 3, 2], all three trained.

    The vectors start at cosines 0.9 and 0, the positive orthogonal to the negative, and are normalised in every step.
    The middle dimension is that of the losses, the first three of `LOSSES`: cross entropy, exact InfoNCE, FlatNCE.

    Parameters
    ----------
    temperature, adam_eps : > 0. steps : >= 0.
    optimizer : "Adam" with learning rate 0.02, or "SGD" with 0.004 and no momentum. dtype : of everything.

    Raises
    ------
    ValueError : any of these out of its range.

    >>> [round(cosine, 5) for cosine in train_three_vectors(0.1, steps=1)[0, 0].tolist()]
    [0.9, 0.0]
    """
    checked_number("temperature", temperature, "a finite number > 0", lambda number: 0 < number < math.inf)
    checked_number("adam_eps", adam_eps, "a finite number > 0", lambda number: 0 < number < math.inf)
    checked_choice("optimizer", optimizer, "Adam", "SGD")
    start = ((1.0, 0.0, 0.0), (0.9, math.sqrt(1 - 0.9**2), 0.0), (0.0, 0.0, 1.0))
    vectors = torch.tensor(start, dtype=dtype).repeat(3, 1, 1).requires_grad_()
    if optimizer == "Adam":
        descent: torch.optim.Optimizer = torch.optim.Adam([vectors], lr=0.02, eps=adam_eps)
    else:
        descent = torch.optim.SGD([vectors], lr=4e-3)
    path = torch.empty(checked_integer("steps", steps, 0), 3, 2, dtype=dtype)
    for step in range(steps):
        unit = F.normalize(vectors, dim=2)
        cosines = (unit[:, :1] * unit[:, 1:]).sum(2)
        path[step] = cosines.detach()
        value = sum(_loss(name, row[None, None]) for name, row in zip(LOSSES[:3], cosines / temperature, strict=True))
        descent.zero_grad()
        value.sum().backward()
        descent.step()
    return path


def _start(seed: int, dtype: torch.dtype) -> list[Tensor]:
    """The four weights, uniform with variance 2/inputs (He et al. 2015), then the four biases, 0."""
    generator = torch.Generator().manual_seed(3 * seed)
    weights = [(6 / n) ** 0.5 * (2 * torch.rand(n, m, generator=generator).to(dtype) - 1) for n, m in LAYERS]
    return weights + [torch.zeros(1, m, dtype=dtype) for _, m in LAYERS]


def _views(images: Tensor, batch_size: int, seed: int, strength: float) -> Iterator[Tensor]:
    """Views [steps of a chunk, 2 batch_size, 64] without end; an epoch is a shuffle without its incomplete batch."""
    order, randomness = (torch.Generator().manual_seed(3 * seed + k) for k in (1, 2))
    chunk = max(1, _VIEWS_AT_ONCE // (2 * batch_size))
    whole = len(images) // batch_size * batch_size
    batches = torch.empty(0, batch_size, dtype=torch.int64)
    while True:
        while len(batches) < chunk:
            epoch = torch.randperm(len(images), generator=order)[:whole]
            batches = torch.cat([batches, epoch.view(-1, batch_size)])
        yield two_view_augment(images[batches[:chunk]], randomness, strength)
        batches = batches[chunk:]


def _columns(batch_size: int, negatives: int | None) -> Tensor:
    """Candidates [2N, K] of every view: the other view of its image first, then those that follow it, in a circle."""
    size = 2 * batch_size
    others = [k for k in range(1, size) if k != batch_size][:negatives]
    return (torch.arange(size)[:, None] + torch.tensor([batch_size, *others])) % size


def _per_anchor(function: Callable[..., Tensor], scores: Tensor, **options: str) -> Tensor:
    """A function of (scores [B, K], target [B]) for all seeds at once: [seeds, anchors]."""
    target = torch.zeros(scores.shape[:2].numel(), dtype=torch.int64)
    return function(scores.flatten(0, 1), target, **options).view(scores.shape[:2])


def _loss(name: str, scores: Tensor) -> Tensor:
    """Loss [seeds] of scores [seeds, anchors, candidates], the positive first."""
    if name == "log of the batch mean":
        target = torch.zeros(scores.shape[1], dtype=torch.int64)
        return torch.stack([contrastive_losses.log_mean_info_nce(own, target) for own in scores])
    if name == "xi":
        return _per_anchor(contrastive_losses.log_xi, scores).exp().mean(1)
    functions = (contrastive_losses.info_nce_cross_entropy, contrastive_losses.info_nce, contrastive_losses.flat_nce)
    return _per_anchor(functions[LOSSES.index(name)], scores, reduction="none").mean(1)


def _check_images(name: str, images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dtype not in (torch.float32, torch.float64):
        kind = getattr(images, "dtype", type(images).__name__)
        raise ValueError(f"{name} must be a tensor of dtype float32 or float64, got {kind}")
    if images.ndim == 0 or images.shape[-1] != 64 or not images.numel():
        raise ValueError(f"{name} must have shape (..., 64) with at least one image, got {tuple(images.shape)}")
    if not images.isfinite().all():
        raise ValueError(f"{name} must be finite, got {(~images.isfinite()).sum()} NaN or infinite value(s)")
