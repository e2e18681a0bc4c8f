"""Fit a linear discriminant to a stream of rows that is never in memory at once.

    python examples/discriminant_stream.py --rows 10000000 --chunk 16384

Each chunk updates the class moments (C + C d + d² numbers) and is forgotten. The rows are made on the fly from Gaussian
classes, so that the fit can be compared with the best possible rule.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from helpers.discriminant import ClassMoments, LinearClassifier, linear_discriminant


def population(features: int, classes: int, seed: int) -> ClassMoments:
    """Moments of the distribution the rows come from: equal priors, random means, a random covariance."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(features, features)) / np.sqrt(features) + np.eye(features)
    means = rng.normal(size=(classes, features)) / 3
    return ClassMoments(np.full(classes, 1 / classes), means, mix @ mix.T)


def chunks(source: ClassMoments, rows: int, chunk: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`rows` rows drawn from Gaussian classes with the moments of `source`, at most `chunk` at a time."""
    rng = np.random.default_rng(seed)
    classes, features = source.mean.shape
    root = np.linalg.cholesky(source.within_cov())
    for start in range(0, rows, chunk):
        size = min(chunk, rows - start)
        y = rng.integers(0, classes, size)
        yield source.mean[y] + rng.standard_normal((size, features)) @ root.T, y


def fit(source: ClassMoments, rows: int, chunk: int, seed: int) -> tuple[ClassMoments, LinearClassifier]:
    moments = ClassMoments.empty(*source.mean.shape)
    for X, y in chunks(source, rows, chunk, seed):
        moments = moments.update(X, y)
    return moments, linear_discriminant(moments)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--chunk", type=int, default=16_384, help="rows in memory at once")
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    source = population(options.features, options.classes, options.seed)
    start = time.perf_counter()
    moments, classifier = fit(source, options.rows, options.chunk, options.seed + 1)
    seconds = time.perf_counter() - start
    best = linear_discriminant(source)
    X, y = next(chunks(source, 20_000, 20_000, options.seed + 2))
    accuracy, bayes = ((rule.logits(X).argmax(axis=1) == y).mean() for rule in (classifier, best))
    state = moments.count.size + moments.mean.size + moments.scatter.size
    print(f"rows {moments.n:.0f}, features {options.features}, classes {options.classes}, state {state} numbers")
    print(f"seconds {seconds:.2f} (making the rows included)")
    print(f"accuracy on 20000 new rows {accuracy:.4f}, of the best possible rule {bayes:.4f}")


if __name__ == "__main__":
    main()
