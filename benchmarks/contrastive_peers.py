"""The exact losses beside cross_entropy and pytorch-metric-learning: gradient errors and times, all in one run.

    OMP_NUM_THREADS=1 python benchmarks/contrastive_peers.py

Part 1: relative error of dL/ds_t and largest relative error of the dL/ds_i in one row of scores, by spelling and dtype.
Part 2: relative error of dL/dz in float32 on the tangent space of the sphere, from embeddings to gradient, against
float64: of all rows together, and the median over the rows.
Part 3: medians of forward + backward passes, from the scores and from the embeddings, in random order;
pytorch-metric-learning apart, since it empties the cache.
pytorch-metric-learning is not a dependency (`pip install --no-deps pytorch-metric-learning`). Where it is missing, or
would not fit into memory, its column stays empty.
"""

import os
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.contrastive import (
    contrastive_gradient_oracle,
    flat_nce,
    flat_nce_stop_gradient,
    info_nce,
    info_nce_cross_entropy,
    info_nce_log1p,
    info_nce_naive,
    nt_xent_scores,
)

try:
    from pytorch_metric_learning.losses import NTXentLoss
except ImportError:
    NTXentLoss = None

SPELLINGS = {
    "cross_entropy": info_nce_cross_entropy,
    "log(1+xi)": info_nce_naive,
    "log1p(xi)": info_nce_log1p,
    "info_nce": info_nce,
    "info_nce, no upcast": partial(info_nce, upcast=False),
    "flat_nce": flat_nce,
    "flat_nce, no upcast": partial(flat_nce, upcast=False),
    "flat, stop gradient": flat_nce_stop_gradient,
}


def rows() -> None:
    print("Relative error of dL/ds_t / largest of dL/ds_i; K = 256: negatives uniform in [-4, 0]")
    generator = torch.Generator().manual_seed(0)
    below = -4 * torch.rand(1, 255, generator=generator, dtype=torch.float64)
    print(f"{'dtype':<9} {'K':>3} {'gap':>3}  " + " ".join(f"{name:>19}" for name in SPELLINGS))
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for negatives in (torch.zeros(1, 1), below):
            for gap in (5, 8, 14, 17, 30):
                scores = F.pad(negatives, (1, 0), value=gap).to(dtype)
                cells = [f"{target:.0e} / {others:.0e}" for target, others in map(partial(_row, scores), SPELLINGS)]
                head = f"{str(dtype)[6:]:<9} {scores.shape[1]:>3} {gap:>3}"
                print(f"{head}  " + " ".join(f"{cell:>19}" for cell in cells), flush=True)


def _row(scores: Tensor, name: str) -> tuple[float, float]:
    scores, target = scores.clone().requires_grad_(), torch.tensor([0])
    SPELLINGS[name](scores, target).backward()
    exact = contrastive_gradient_oracle(scores.detach(), target, "flat_nce" if "flat" in name else "info_nce")
    error = (scores.grad.double() / torch.tensor(exact, dtype=torch.float64) - 1).abs()[0]
    return error[0].item(), error[1:].max().item()


def recipe(z: Tensor, temperature: float) -> Tensor:
    """What most code does: the diagonal filled with -inf, then cross_entropy."""
    z = F.normalize(z, dim=1)
    scores = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(scores, torch.arange(len(z)).roll(len(z) // 2))


def metric_learning(z: Tensor, temperature: float) -> Tensor:
    return NTXentLoss(temperature)(z, torch.arange(len(z) // 2).repeat(2))


FROM_SCORES = {"cross_entropy": F.cross_entropy, "info_nce": info_nce, "flat_nce": flat_nce}
FROM_Z = {name: lambda z, tau, loss=loss: loss(*nt_xent_scores(z, tau)) for name, loss in FROM_SCORES.items()}
FROM_Z |= {"masked recipe": recipe, "metric-learning": metric_learning}


def memory(name: str, pairs: int) -> float:
    """Bytes at the peak, roughly."""
    if name == "metric-learning":  # each positive pair against each negative pair
        return 4 * 5 * (2 * pairs) * (2 * pairs) ** 2
    return 4 * 5 * (2 * pairs) ** 2


def goes(name: str, pairs: int) -> bool:
    if name == "metric-learning" and NTXentLoss is None:
        return False
    return memory(name, pairs) < 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def views(pairs: int, dim: int = 64) -> Tensor:
    """[2N, d] like an encoder that has learnt something: positives at cosine 0.92, the rest around 0."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(pairs, dim, generator=generator).repeat(2, 1)
    return sample + 0.3 * torch.randn(2 * pairs, dim, generator=generator)


def gradient(loss, z: Tensor, temperature: float) -> Tensor:
    """dL/dz in float64, less the part along z."""
    z = z.clone().requires_grad_()
    loss(z, temperature).backward()
    slope, unit = z.grad.double(), F.normalize(z.detach().double(), dim=1)
    return slope - (slope * unit).sum(1, keepdim=True) * unit


def tangent_errors() -> None:
    print("\nRelative error of dL/dz, float32, d = 64: all rows / median over the rows")
    print(f"{'N':>5} {'tau':>5} " + " ".join(f"{name:>19}" for name in FROM_Z))
    for pairs in (64, 256, 1024):
        for temperature in (0.5, 0.1, 0.07, 0.05):
            z = views(pairs)
            exact = {name: gradient(FROM_Z[name], z.double(), temperature) for name in ("info_nce", "flat_nce")}
            cells = []
            for name, loss in FROM_Z.items():
                due = exact["flat_nce" if name == "flat_nce" else "info_nce"]
                if goes(name, pairs):
                    error = gradient(loss, z, temperature) - due
                    median = (error.norm(dim=1) / due.norm(dim=1)).median()
                    cells.append(f"{error.norm() / due.norm():.1e} / {median:.1e}")
                else:
                    cells.append("")
            print(f"{pairs:>5} {temperature:>5} " + " ".join(f"{cell:>19}" for cell in cells), flush=True)


def times(seconds: float = 20.0) -> None:
    print("\nForward + backward, float32, d = 64, tau = 0.1: median ms, in random order")
    rng = np.random.default_rng(0)
    heads = [f"{name}, scores" for name in FROM_SCORES] + list(FROM_Z)
    print(f"{'N':>5} {'runs':>5} " + " ".join(f"{head:>21}" for head in heads))
    for pairs in (64, 128, 256, 1024, 4096):
        z = views(pairs).requires_grad_()
        scores, target = (each.detach() for each in nt_xent_scores(z, 0.1))
        scores.requires_grad_()
        calls = {f"{name}, scores": (scores, partial(loss, scores, target)) for name, loss in FROM_SCORES.items()}
        calls |= {name: (z, partial(loss, z, 0.1)) for name, loss in FROM_Z.items()}
        calls = {name: call for name, call in calls.items() if goes(name, pairs)}
        taken = {name: [] for name in calls}
        start, large = time.perf_counter(), calls.pop("metric-learning", None)
        while len(taken["info_nce"]) < 6 or (len(taken["info_nce"]) < 1000 and time.perf_counter() - start < seconds):
            for name in rng.permutation(list(calls)):  # what ran before decides what is in the cache
                taken[name].append(_milliseconds(*calls[name]))
        for _ in range(4 if large else 0):
            taken["metric-learning"].append(_milliseconds(*large))
        medians = [f"{np.median(taken[head][1:]):.3f}" if head in taken else "" for head in heads]  # the first warms up
        print(f"{pairs:>5} {len(taken['info_nce']) - 1:>5} " + " ".join(f"{cell:>21}" for cell in medians), flush=True)


def _milliseconds(leaf: Tensor, loss) -> float:
    leaf.grad = None
    start = time.perf_counter()
    loss().backward()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread")
    rows()
    tangent_errors()
    times()
