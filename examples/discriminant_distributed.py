"""Fit a linear discriminant to rows that are spread over workers, each of which keeps its own.

    torchrun --standalone --nproc-per-node=2 examples/discriminant_distributed.py

Every worker summarises its shard, and two sums over the workers (gloo) give each the moments of all rows. Worker 0
then makes every shard again and fits in one process; the exit status is 1 if the two fits differ by more than 1e-10.
"""

import argparse
import os
import sys

import numpy as np
import torch
import torch.distributed as dist

from helpers.discriminant import ClassMoments, linear_discriminant


def shard(rank: int, rows: int, features: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one worker: unequal numbers of rows, and class proportions that differ from worker to worker."""
    means = np.random.default_rng(seed).normal(size=(classes, features))
    rng = np.random.default_rng([seed, rank])
    y = rng.choice(classes, size=rows * (rank + 1), p=rng.dirichlet(np.ones(classes)))
    return means[y] + rng.normal(size=(len(y), features)), y


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of worker 0; worker k has k + 1 times as many")
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    size = (options.rows, options.features, options.classes, options.seed)

    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:  # all workers on this machine: no network needed
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group("gloo")
    rank, workers = dist.get_rank(), dist.get_world_size()
    moved = []

    def all_reduce_sum(array: np.ndarray) -> np.ndarray:
        moved.append(array.nbytes)
        tensor = torch.from_numpy(array)
        dist.all_reduce(tensor)
        return tensor.numpy()

    X, y = shard(rank, *size)
    moments = ClassMoments.from_data(X, y, n_classes=options.classes).all_reduced(all_reduce_sum)
    classifier = linear_discriminant(moments)
    dist.barrier()
    dist.destroy_process_group()
    if rank != 0:
        return 0

    shards = [shard(k, *size) for k in range(workers)]
    alone = ClassMoments.from_data(np.vstack([X for X, _ in shards]), np.concatenate([y for _, y in shards]))
    reference = linear_discriminant(alone)
    worst = max(
        difference(moments.count, alone.count),
        difference(moments.mean, alone.mean),
        difference(moments.scatter, alone.scatter),
        difference(classifier.weights, reference.weights),
        difference(classifier.bias, reference.bias),
    )
    data = 8 * int(alone.n) * (options.features + 1)
    print(f"workers {workers}, rows {alone.n:.0f}, features {options.features}, classes {options.classes}")
    print(f"bytes summed per worker {sum(moved)} in {len(moved)} all-reduces; the rows themselves take {data}")
    print(
        f"largest relative difference from the one-process fit {worst:.1e}: {'ok' if worst <= 1e-10 else 'TOO LARGE'}"
    )
    return int(worst > 1e-10)


if __name__ == "__main__":
    sys.exit(main())
