"""Time of linear attention against the number of tokens N and of features D, beside PyTorch and performer-pytorch.

    OMP_NUM_THREADS=1 python benchmarks/linear_attention_cost.py

CPU time of one call, one head, d_v = d, float32, one thread: the fastest of up to 5, feature maps included. "growth" is
the slope of log time over log N from 2048 tokens on. A crossover is where the line between two measured N meets that of
PyTorch's fused attention; on another machine it lies elsewhere. performer-pytorch is optional (how to install it:
linear_attention_peers.py); its causal CPU code is slow and left out beyond 4096 tokens.
"""

import contextlib
import io
import math
import time
import warnings

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from helpers.linear_attention import (
    gaussian_random_matrix,
    linear_attention,
    polynomial_feature_dim,
    polynomial_feature_map,
    positive_random_features,
    scaled_tokens,
    softmax_attention,
    taylor_coefficients,
)

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what newer versions deprecate
        from performer_pytorch import FastAttention
except ImportError:
    FastAttention = None

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
NAIVE_UP_TO, PERFORMER_CAUSAL_UP_TO = 8192, 4096
FUSED, CHUNK = "PyTorch, fused", 64


def milliseconds(call, budget: float = 4.0) -> float:
    """Least CPU time of up to 5 calls, fewer when they take long."""
    call()
    times = []
    while len(times) < 5 and sum(times) < budget:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def plain(q, k, v, causal):
    """The quadratic form as it is written down."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape, dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(-1) @ v


def taylor_map(order: int):
    return lambda x: polynomial_feature_map(x, taylor_coefficients(order))


def calls(d: int, n: int, causal: bool) -> dict:
    """A function to time for each method."""
    q, k, v = np.random.default_rng(0).normal(size=(3, n, d)).astype(np.float32)
    p, r = scaled_tokens(q), scaled_tokens(k)
    tensors = [torch.from_numpy(x)[None, None] for x in (q, k, v)]
    features = int(d * math.log(d))  # performer-pytorch's default
    W = gaussian_random_matrix(features, d, orthogonal=True, rng=np.random.default_rng(0))

    def ours(feature_map):
        return lambda: linear_attention(p, r, v, causal, CHUNK, feature_map=feature_map)

    result = {FUSED: lambda: scaled_dot_product_attention(*tensors, is_causal=causal)}
    if n <= NAIVE_UP_TO:
        result["PyTorch, plain"] = lambda: plain(*tensors, causal)
        result["our softmax"] = lambda: softmax_attention(q, k, v, causal=causal)
    result[f"Taylor 2, D = {polynomial_feature_dim(d, 2)}"] = ours(taylor_map(2))
    result[f"positive random, D = {features}"] = ours(lambda x: positive_random_features(x, W))
    if FastAttention is not None and (not causal or n <= PERFORMER_CAUSAL_UP_TO):
        with contextlib.redirect_stdout(io.StringIO()):  # it reports a missing CUDA kernel
            attention = FastAttention(d, nb_features=features, causal=causal)
        result[f"performer, D = {features}"] = lambda: attention(*tensors)
    return result


def crossover(times: dict[int, float], fused: dict[int, float]) -> str:
    """Between which N, interpolated on log scales, the method begins to be faster than the fused quadratic form."""
    lengths = [n for n in LENGTHS if n in times]
    lead = [math.log(fused[n] / times[n]) for n in lengths]  # > 0: faster
    if lead[-1] <= 0:
        return f"> {lengths[-1]}"
    last = max((i for i, value in enumerate(lead) if value <= 0), default=None)
    if last is None:
        return f"< {lengths[0]}"
    share = -lead[last] / (lead[last + 1] - lead[last])
    return f"{lengths[last] * (lengths[last + 1] / lengths[last]) ** share:.0f}"


def against_tokens() -> None:
    for d in (16, 64):
        for causal in (False, True):
            table: dict[str, dict[int, float]] = {}
            for n in LENGTHS:
                for name, call in calls(d, n, causal).items():
                    with torch.no_grad():
                        table.setdefault(name, {})[n] = milliseconds(call)
            print(f"\nd = {d}, {'causal' if causal else 'bidirectional'}: ms a call")
            print(f"{'N':<26}" + "".join(f"{n:>9}" for n in LENGTHS) + f"{'growth':>9}{'crossover':>11}")
            for name, times in table.items():
                tail = [n for n in times if n >= 2048]
                growth = np.polyfit(np.log(tail), np.log([times[n] for n in tail]), 1)[0]
                cells = "".join(f"{times[n]:>9.2f}" if n in times else f"{'':>9}" for n in LENGTHS)
                print(f"{name:<26}{cells}{growth:>9.2f}{crossover(times, table[FUSED]):>11}", flush=True)


def against_features(n: int = 4096) -> None:
    print(f"\nN = {n}, bidirectional: ms a call against D (feature maps included), and of the feature maps alone")
    print(f"{'d':>4} {'order':>6} {'D':>6} {'attention':>10} {'maps':>8} {'us per feature':>15}")
    for d, order in ((16, 1), (64, 1), (16, 2), (32, 2), (16, 3), (64, 2)):
        q, k, v = np.random.default_rng(0).normal(size=(3, n, d)).astype(np.float32)
        feature_map, D = taylor_map(order), polynomial_feature_dim(d, order)
        whole = milliseconds(
            lambda q=q, k=k, v=v, f=feature_map: linear_attention(q, k, v, feature_map=f, check="none")
        )
        maps = milliseconds(lambda q=q, k=k, f=feature_map: (f(q), f(k)))
        print(f"{d:>4} {order:>6} {D:>6} {whole:>10.2f} {maps:>8.2f} {1e3 * whole / D:>15.1f}", flush=True)


def state_sizes() -> None:
    print("\nCausal decoding, exact: N from which the state D(d_v + 1) is smaller than keys and values N(d + d_v)")
    for d, dv, order in ((16, 16, 2), (16, 64, 2), (64, 64, 2), (64, 64, 3)):
        D, full = (polynomial_feature_dim(d, order, symmetric) for symmetric in (True, False))
        ours, theirs = (features * (dv + 1) / (d + dv) for features in (D, full))
        print(f"d = {d}, d_v = {dv}, order {order}: {ours:.0f} (all tensor powers: {theirs:.0f})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if FastAttention is None:
        print("performer-pytorch is not installed: it is left out")
    against_tokens()
    against_features()
    state_sizes()
