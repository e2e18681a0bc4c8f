"""How well linear attention imitates softmax attention with a given number of features, beside performer-pytorch.

    OMP_NUM_THREADS=1 python benchmarks/linear_attention_peers.py

performer-pytorch 1.1.4 is optional: pip install --no-deps performer-pytorch local-attention einops hyper-connections
torch-einops-utils axial-positional-embedding. Errors are |B - A|_F/|A|_F of attention matrices; q, k ~ N(0, I), scores
β q·k/√d. "best rank D", from the singular values of A, bounds every method with D features; "inf": in some seed a
denominator was not positive.
"""

import contextlib
import io
import math
import warnings

import numpy as np
import torch

from helpers.linear_attention import (
    attention_matrix,
    gaussian_random_matrix,
    hermite_coefficients,
    hyperbolic_random_features,
    polynomial_feature_dim,
    polynomial_feature_map,
    positive_random_features,
    scaled_tokens,
    softmax_attention,
    taylor_coefficients,
    trigonometric_random_features,
)

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what newer versions deprecate
        from performer_pytorch import FastAttention
        from performer_pytorch.performer_pytorch import gaussian_orthogonal_random_matrix
except ImportError:
    FastAttention = None

N, SEEDS, BETAS = 512, 5, (0.25, 0.5, 1.0, 2.0)
SIZES = {4: (1, 2, 3, 4, 6, 8), 16: (1, 2, 3), 64: (1, 2)}  # orders n for each d; the features are then C(d + n, n)
METHODS = ("Taylor", "Hermite", "positive", "orthogonal", "hyperbolic", "trigonom.", "performer", "best rank D")


def performer_matrix(q: np.ndarray, k: np.ndarray, features: int, seed: int, causal: bool = False) -> np.ndarray:
    """Its output for the unit vectors as values: the weights. It divides by √d itself."""
    torch.manual_seed(seed)
    with contextlib.redirect_stdout(io.StringIO()):  # it reports a missing CUDA kernel
        attention = FastAttention(q.shape[-1], nb_features=features, causal=causal)
    tensors = (torch.from_numpy(a)[None, None].float() for a in (q, k, np.eye(len(k))))
    with torch.no_grad():
        return attention(*tensors)[0, 0].double().numpy()


def methods(q: np.ndarray, k: np.ndarray, beta: float, order: int, seed: int) -> dict:
    """A function for the attention matrix of each method, with as many features as Taylor's order has."""
    d = q.shape[-1]
    features = polynomial_feature_dim(d, order)
    rng = np.random.default_rng(1000 + seed)
    independent, half = (gaussian_random_matrix(m, d, rng=rng) for m in (features, math.ceil(features / 2)))
    orthogonal = gaussian_random_matrix(features, d, orthogonal=True, rng=rng)
    tokens = [scaled_tokens(x, beta) for x in (q, k)]

    def matrix(feature_map, parameter):
        return lambda: attention_matrix(*(feature_map(x, parameter) for x in tokens))

    result = {
        "Taylor": matrix(polynomial_feature_map, taylor_coefficients(order)),
        "positive": matrix(positive_random_features, independent),
        "orthogonal": matrix(positive_random_features, orthogonal),
        "hyperbolic": matrix(hyperbolic_random_features, half),  # two features a row
        "trigonom.": matrix(trigonometric_random_features, half),
    }
    if beta**2 <= 2 or order == 1:  # otherwise a coefficient is negative
        result["Hermite"] = matrix(polynomial_feature_map, hermite_coefficients(order, beta))
    if FastAttention is not None:
        result["performer"] = lambda: performer_matrix(math.sqrt(beta) * q, math.sqrt(beta) * k, features, seed)
    return result


def errors_of(d: int, beta: float, order: int, seed: int) -> dict[str, float]:
    q, k = np.random.default_rng(seed).normal(size=(2, N, d))
    exact = softmax_attention(q, k, k, scale=beta / math.sqrt(d), return_weights=True)[1]
    left = np.linalg.svd(exact, compute_uv=False)[polynomial_feature_dim(d, order) :]
    errors = {"best rank D": np.linalg.norm(left), "uniform": np.linalg.norm(exact - 1 / N)}
    for name, matrix in methods(q, k, beta, order, seed).items():
        try:
            errors[name] = np.linalg.norm(matrix() - exact)
        except FloatingPointError:
            errors[name] = math.inf
    return {name: error / np.linalg.norm(exact) for name, error in errors.items()}


def accuracy() -> None:
    print(f"1. Relative error of the attention matrix, N = {N}, mean of {SEEDS} seeds; in a row, all have D features")
    print(f"{'d':>3} {'n':>2} {'D':>5} {'β':>5} {'uniform':>8} " + " ".join(f"{name:>11}" for name in METHODS))
    wins = dict.fromkeys(METHODS[2:-1], 0)
    rows = 0
    for d, orders in SIZES.items():
        for order in orders:
            for beta in BETAS:
                runs = [errors_of(d, beta, order, seed) for seed in range(SEEDS)]
                mean = {name: np.mean([run.get(name, np.nan) for run in runs]) for name in (*METHODS, "uniform")}
                rows += 1
                for name in wins:
                    wins[name] += mean["Taylor"] < mean[name]
                cells = " ".join(f"{mean[name]:>11.3g}" for name in METHODS)
                D = polynomial_feature_dim(d, order)
                print(f"{d:>3} {order:>2} {D:>5} {beta:>5g} {mean['uniform']:>8.3f} {cells}", flush=True)
    print("rows where Taylor is closer than " + ", ".join(f"{name}: {won} of {rows}" for name, won in wins.items()))


def exactness() -> None:
    q, k, v = np.random.default_rng(0).normal(size=(3, 2, 4, N, 64))
    print(f"\n2. Largest deviation of softmax_attention from torch's scaled_dot_product_attention, N = {N}, d = 64")
    for dtype in (np.float64, np.float32):
        arrays = [a.astype(dtype) for a in (q, k, v)]
        for causal in (False, True):
            theirs = torch.nn.functional.scaled_dot_product_attention(
                *map(torch.from_numpy, arrays), is_causal=causal
            ).numpy()
            deviation = np.abs(softmax_attention(*arrays, causal=causal) - theirs).max()
            print(f"{np.dtype(dtype).name}, causal={causal}: {deviation:.1e}")


def leak() -> None:
    print("\n3. Causal attention: change of rows 0 to N-2 when the last key is doubled, d = 64, N = 256, 266 features")
    q, k = np.random.default_rng(0).normal(size=(2, 256, 64))
    k2 = k.copy()
    k2[-1] *= 2
    W = gaussian_random_matrix(266, 64, orthogonal=True, rng=np.random.default_rng(0))

    def ours(keys):
        return attention_matrix(*(positive_random_features(scaled_tokens(x), W) for x in (q, keys)), causal=True)

    cases = {"ours": ours}
    if FastAttention is not None:
        cases["performer"] = lambda keys: performer_matrix(q, keys, 266, 0, causal=True)
    for name, matrix in cases.items():
        change = (matrix(k2) - matrix(k))[:-1, :-1]
        share = np.linalg.norm(change) / np.linalg.norm(matrix(k))
        print(f"{name:<10} largest {np.abs(change).max():.3g}, relative norm {share:.3g}")


def sign_bias(draws: int = 1500) -> None:
    print(f"\n4. Mean of estimate/e^(q·k) - 1 ± its standard error, m = d orthogonal positive features, {draws} draws")
    for d, s in ((4, 1.0), (16, 2.0), (64, 2.0)):
        u = np.full(d, math.sqrt(s / d))
        sources = {"ours": lambda seed, d=d: gaussian_random_matrix(d, d, True, rng=np.random.default_rng(seed))}
        if FastAttention is not None:
            torch.manual_seed(0)
            sources["performer"] = lambda seed, d=d: gaussian_orthogonal_random_matrix(d, d).double().numpy()
        for name, draw in sources.items():
            for sign in (1, -1):
                ratios = [np.exp(sign * draw(seed) @ u - s / 2).mean() - 1 for seed in range(draws)]
                mean, error = np.mean(ratios), np.std(ratios) / math.sqrt(draws)
                print(f"d = {d:>2}, |q + k|² = {s:g}, sign {sign:+d}: {name:<10} {mean:+.1%} ± {error:.1%}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if FastAttention is None:
        print("performer-pytorch is not installed: its columns stay empty\n")
    accuracy()
    exactness()
    leak()
    sign_bias()
