"""Judging trained critics and generators: is the estimate honest, are the samples right, what does autograd miss?"""

import copy
import functools
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy import spatial
from torch import Tensor

from helpers.gan_critics import MODES, Critic, make_critic
from helpers.gan_tasks import CriticTask, GanTask, swiss_curve
from helpers.inputs import Array, checked_integer, checked_number, checked_rows
from helpers.lipschitz import difference_quotient, local_norm
from helpers.transport import mode_coverage, wasserstein1_assignment

RADIUS = 0.01  # of the difference quotients
_SWISS_BINS, _SWISS_WIDTH = 20, 0.12


def estimate_distance(critic: Critic, task: CriticTask, n: int = 5000, seed: int = 0) -> Array:
    """mean D̂(p) - mean D̂(q), [S], on n fresh points of each, the same for all seeds of the critic.

    p and q are drawn from the same random numbers: where q is p moved, each point is compared with itself, moved, and
    the noise of the sample all but cancels.

    >>> from helpers.gan_tasks import CRITIC_TASKS
    >>> estimate_distance(make_critic([0, 1], 2, "GN"), CRITIC_TASKS["ring"], n=10).shape
    (2,)
    """
    critic, p, q = _test_points(critic, task, n, seed)
    with torch.no_grad():
        return (critic(p).mean(1) - critic(q).mean(1)).numpy()


def judge_critic(critic: Critic, task: CriticTask, n: int = 5000, seed: int = 0) -> dict[str, Array]:
    """How much of the estimate is honest, one number per seed, in float64.

    - `estimate`: mean D̂(p) - mean D̂(q); `ratio`: over the exact Wasserstein-1 distance;
    - `largest_norm`: max |∇D̂| by autograd on n points of p, n of q and n mixtures of the two;
    - `largest_quotient`: max |D̂(x+δ) - D̂(x)|/|δ| there, |δ| = `RADIUS` in a random direction;
    - `honest`: ratio over the larger of the two. Never above 1, but for the noise of n points, if that larger one were
      the true Lipschitz constant: a lower bound of the distance, as a share of it.

    >>> from helpers.gan_tasks import CRITIC_TASKS
    >>> sorted(judge_critic(make_critic([0], 2, "GN"), CRITIC_TASKS["ring"], n=10))
    ['estimate', 'honest', 'largest_norm', 'largest_quotient', 'ratio']
    """
    estimate = estimate_distance(critic, task, n, seed)
    critic, p, q = _test_points(critic, task, n, seed)
    share = torch.from_numpy(np.random.default_rng([seed, 8]).random((n, 1)))
    x = torch.cat([p, q, torch.lerp(p, q.roll(1, dims=1), share)], dim=1)  # rolled: mixtures of unrelated points
    mode, eps = MODES.get(critic.scheme, "raw"), critic.strength if critic.scheme == "GraN" else 0.0
    norm = local_norm(critic.network, x, mode, eps, batch_dims=2).amax(1).numpy()
    generator = torch.Generator().manual_seed(seed)
    quotient = difference_quotient(critic, x, RADIUS, generator, batch_dims=2).amax(1).numpy()
    ratio = estimate / task.wasserstein1
    return {
        "estimate": estimate,
        "ratio": ratio,
        "largest_norm": norm,
        "largest_quotient": quotient,
        "honest": ratio / np.maximum(norm, quotient),
    }


def judge_samples(samples: Tensor, task: GanTask, seed: int = 0) -> dict[str, Array]:
    """How close samples [S, n, 2] are to the task, in units of its scale, one number per seed.

    - `wasserstein1`: exact distance to n fresh points by assignment (two real samples of 1000 are 0.1 to 0.15 apart);
    - `modes`: centres with at least a quarter of their fair share of samples within 4 standard deviations;
    - `quality`: share of the samples within 4 standard deviations of a centre.

    On the swiss roll modes are 20 equal parts of the curve, and near is within 0.12.

    Raises
    ------
    ValueError : samples not [S, n, 2] or not finite.

    >>> from helpers.gan_tasks import GAN_TASKS
    >>> judge_samples(torch.zeros(1, 10, 2), GAN_TASKS["8 Gaussians"])["modes"].tolist()
    [0.0]
    """
    if samples.ndim != 3 or task.dimension != 2:
        raise ValueError(f"samples must be (S, n, 2) of a task in the plane, got {tuple(samples.shape)}, {task.name!r}")
    found = []
    for own in samples.double().numpy():
        points = checked_rows("samples", own, 2) / task.scale
        real = task.sample(len(points), np.random.default_rng([checked_integer("seed", seed, 0), 6])) / task.scale
        modes, quality = (
            swiss_coverage(points) if task.centers is None else mode_coverage(points, task.centers, task.std)
        )
        found.append((wasserstein1_assignment(points, real), modes, quality))
    return dict(zip(("wasserstein1", "modes", "quality"), np.array(found, dtype=float).T, strict=True))


def swiss_coverage(points: Array) -> tuple[int, float]:
    """Of the 20 equal parts of the swiss roll those with a quarter of their share of points, and the share near it.

    >>> swiss_coverage(swiss_curve(np.linspace(0.5, 1, 100)))
    (10, 1.0)
    """
    fine = (np.arange(100 * _SWISS_BINS) + 0.5) / (100 * _SWISS_BINS)
    distance, nearest = spatial.cKDTree(swiss_curve(fine)).query(points)
    near = distance <= _SWISS_WIDTH
    counts = np.bincount(nearest[near] // 100, minlength=_SWISS_BINS)
    return int((counts >= 0.25 * len(points) / _SWISS_BINS).sum()), float(near.mean())


def frechet_distance(A: Array, B: Array) -> float:
    """|μ_A - μ_B|² + tr(Σ_A + Σ_B - 2(Σ_A Σ_B)^½) of rows A [n, d], B [m, d]: squared W₂ of Gaussians fitted to both.

    Heusel et al. (2017), https://arxiv.org/abs/1706.08500, equation 6.

    Raises
    ------
    ValueError : A or B not finite, not 2-dimensional, with fewer than two rows or another number of columns.

    >>> A = np.random.default_rng(0).standard_normal((50, 3))
    >>> round(frechet_distance(A, A + [3, 4, 0]), 9)
    25.0
    """
    A = checked_rows("A", A)
    B = checked_rows("B", B, A.shape[1])
    for name, rows in (("A", A), ("B", B)):
        if len(rows) < 2:
            raise ValueError(f"{name} must have at least two rows, got {len(rows)}")
    a, b = (np.cov(rows, rowvar=False).reshape(A.shape[1], A.shape[1]) for rows in (A, B))
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.linalg.eigvalsh(root @ b @ root).clip(0)  # rounding makes zeros slightly negative
    shift = A.mean(axis=0) - B.mean(axis=0)
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2 * np.sqrt(cross).sum())


@functools.cache
def digits_features() -> Callable[[Array], Array]:
    """Features [n, 32] of images [n, 64], pixels from -1 to 1: the last hidden layer of a small classifier of digits.

    The classifier is scikit-learn's, 64-64-32-10 with ReLU, fitted to 1297 of its 1797 digits.
    """
    from sklearn.datasets import load_digits  # here, because they take a second
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    train, _, train_labels, _ = train_test_split(images / 8 - 1, labels, test_size=500, stratify=labels, random_state=0)
    classifier = MLPClassifier((64, 32), max_iter=60, tol=0, n_iter_no_change=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged after 60 epochs; it need not
        classifier.fit(train, train_labels)

    def features(x: Array) -> Array:
        h = checked_rows("x", x, 64)
        for W, b in list(zip(classifier.coefs_, classifier.intercepts_, strict=True))[:2]:
            h = np.maximum(h @ W + b, 0)
        return h

    return features


def autograd_gap(scheme: str, seed: int, n: int = 100_000, step: float = 0.02) -> tuple[float, float]:
    """How far autograd's gradient of mean D̂(p) - mean D̂(q) is from the true one: relative error, and cosine.

    The critic is 2-16-1, LeakyReLU, as it starts; p and q are N(0, I) and N(e₁, I), n points each; the gradient is by
    the 16 hidden biases. The true one is a central difference over ±`step` on the same points: it sees the boundaries
    of the linear regions, with the jumps of D̂ on them, move across points.

    Raises
    ------
    ValueError : unknown scheme; n < 1, seed < 0, step not > 0.

    >>> autograd_gap("none", 0, 2000)[0] < 0.1
    True
    """
    rng = np.random.default_rng([checked_integer("seed", seed, 0), 7])
    checked_integer("n", n, 1)
    step = checked_number("step", step, "a finite number > 0", lambda number: 0 < number < np.inf)
    critic = make_critic([seed], 2, scheme, hidden=(16,), dtype=torch.float64)
    p = torch.from_numpy(rng.standard_normal((1, n, 2)))
    q = torch.from_numpy(rng.standard_normal((1, n, 2)) + np.array([1, 0]))
    bias = critic.network.biases[0]
    (claimed,) = torch.autograd.grad(critic(p).mean() - critic(q).mean(), bias)
    true = torch.zeros_like(bias)
    with torch.no_grad():
        for k in range(bias.shape[2]):
            for sign in (1, -1):
                bias[0, 0, k] += sign * step
                true[0, 0, k] += sign * (critic(p).mean() - critic(q).mean()) / (2 * step)
                bias[0, 0, k] -= sign * step
    cosine = torch.nn.functional.cosine_similarity(claimed.flatten(), true.flatten(), dim=0)
    return float((claimed - true).norm() / true.norm()), float(cosine)


def _test_points(critic: Critic, task: CriticTask, n: int, seed: int) -> tuple[Critic, Tensor, Tensor]:
    """The critic in float64, and p and q [S, n, d] from the same random numbers, the same for all seeds."""
    checked_integer("n", n, 1)
    rngs = [np.random.default_rng([checked_integer("seed", seed, 0), 5]) for _ in "pq"]
    points = [torch.from_numpy(draw(n, rng)) for draw, rng in zip((task.sample_p, task.sample_q), rngs, strict=True)]
    p, q = (x.expand(len(critic.network.seeds), -1, -1) for x in points)
    return critic._replace(network=copy.deepcopy(critic.network).double()), p, q
