"""Initialisers side by side: torch.nn.init, scipy.stats.truncnorm, the documented rules of JAX, and ours.

    OMP_NUM_THREADS=1 python benchmarks/initialization_peers.py

JAX is not run: `jax` below is what https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.variance_scaling.html
says (variance scale/n, n by mode and from the shape alone; truncated at two standard deviations before it is scaled to
that variance), drawn with NumPy. Second moments: forward E y²/E x², backward E g_x²/E g_y², means over all positions.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from helpers.initialization import (
    ACTIVATIONS,
    conv_fans,
    fixed_point_stability,
    gain,
    geometric_,
    moment_map,
    sample_weight,
    scaled_orthogonal_,
    truncated_normal,
)

DRAWS = 20
Fill = Callable[[Tensor], object]


def jax(mode: str, scale: float = 1.0, transposed: bool = False) -> Fill:
    """variance_scaling(scale, mode, "truncated_normal") for a tensor in torch's layout; no stride, no groups."""

    def fill(weight: Tensor) -> Tensor:
        fan_in, fan_out = conv_fans(weight, transposed=transposed)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[mode]
        draw = truncated_normal(tuple(weight.shape), math.sqrt(scale / n), rescale=True, rng=RNG)
        return weight.detach().copy_(torch.from_numpy(draw))

    return fill


RNG = np.random.default_rng(0)
GENERATOR = torch.Generator().manual_seed(0)


def gains(make: Callable[[], nn.Module], fill: Fill | None, *shape: int) -> tuple[float, float]:
    """Means over draws of the second moments forward and backward."""
    rows = []
    for _ in range(DRAWS):
        layer = make()
        if fill is not None:
            fill(layer.weight)
        x = torch.randn(*shape, generator=GENERATOR, requires_grad=True)
        y = layer(x)
        (g,) = torch.autograd.grad(y, x, torch.randn(y.shape, generator=GENERATOR))
        inside = y.detach()[..., 4:-5, 4:-5] if y.ndim == 4 else y.detach()  # borders have fewer terms
        rows.append([float(inside.square().mean()), float(g.square().mean())])
    return tuple(np.mean(rows, axis=0))


def dense() -> None:
    print(f"Dense layers, {DRAWS} draws: second moments forward m v, backward n v, and their product (geometric: 1)")
    fills: dict[str, Fill | None] = {
        "torch xavier_normal_": lambda w: nn.init.xavier_normal_(w, generator=GENERATOR),
        "torch kaiming_normal_ (default)": lambda w: nn.init.kaiming_normal_(w, generator=GENERATOR),
        "torch orthogonal_": lambda w: nn.init.orthogonal_(w, generator=GENERATOR),
        "torch nn.Linear as it comes": None,
        "JAX fan_in": jax("fan_in"),
        "JAX fan_avg": jax("fan_avg"),
        "JAX fan_geo_avg": jax("fan_geo_avg"),
        "ours geometric_": lambda w: geometric_(w, generator=GENERATOR),
        "ours scaled_orthogonal_": lambda w: scaled_orthogonal_(w, generator=GENERATOR),
    }
    for m, n in ((64, 256), (256, 64), (784, 10)):
        for name, fill in fills.items():
            up, down = gains(lambda m=m, n=n: nn.Linear(m, n, bias=False), fill, 256, m)
            print(f"{m:>4} -> {n:<4} {name:<32} {up:>8.3f} {down:>8.3f} {up * down:>8.3f}", flush=True)


def convolutions() -> None:
    print("\nConvolutions 3 x 3, 16 -> 64 channels, away from borders: the same, with the fans that each rule assumes")
    cases = {
        "stride 1": {},
        "stride 2": {"stride": 2},
        "groups 4": {"groups": 4},
        "transposed": {"transposed": True},
        "transposed, stride 2": {"transposed": True, "stride": 2},
    }
    for case, options in cases.items():
        transposed = options.get("transposed", False)
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        settings = {key: value for key, value in options.items() if key != "transposed"}
        border = {} if transposed else {"padding": 1, "padding_mode": "circular"}

        def make(kind=kind, settings=settings, border=border) -> nn.Module:
            return kind(16, 64, 3, bias=False, **settings, **border)

        weight = make().weight
        shaped, true = conv_fans(weight), conv_fans(weight, **options)
        fills = {
            "torch xavier_normal_": (lambda w: nn.init.xavier_normal_(w, generator=GENERATOR), shaped),
            "JAX fan_geo_avg": (jax("fan_geo_avg", transposed=transposed), conv_fans(weight, transposed=transposed)),
            "ours geometric_": (lambda w, settings=settings: geometric_(w, generator=GENERATOR, **settings), true),
        }
        for name, (fill, fans) in fills.items():
            up, down = gains(make, fill, 2, 16, 24, 24)
            told = "fans " + ", ".join(f"{fan:g}" for fan in fans)
            print(f"{case:<21} {name:<22} {told:<16} {up:>8.3f} {down:>8.3f} {up * down:>8.3f}", flush=True)


def truncated(count: int = 1_000_000, std: float = 0.02) -> None:
    print(f"\nA truncated normal of std {std} with the cut at 2, {count} numbers")
    print(f"{'':<46} {'std':>9} {'largest':>8} {'kurtosis':>9} {'ms':>5}")
    gamma = stats.truncnorm(-2, 2).std()
    empty = torch.empty(count)
    cases = {
        "torch trunc_normal_(std), as it comes": lambda: nn.init.trunc_normal_(empty, std=std, generator=GENERATOR),
        "torch trunc_normal_(std / 0.8796), as it comes": lambda: nn.init.trunc_normal_(
            empty, std=std / gamma, generator=GENERATOR
        ),
        "torch trunc_normal_(std, a=-2 std, b=2 std)": lambda: nn.init.trunc_normal_(
            empty, std=std, a=-2 * std, b=2 * std, generator=GENERATOR
        ),
        "scipy truncnorm(-2, 2, scale=std)": lambda: stats.truncnorm(-2, 2, scale=std).rvs(count, random_state=RNG),
        "ours truncated_normal(std)": lambda: truncated_normal(count, std, rng=RNG),
        "JAX: std after the cut": lambda: truncated_normal(count, std, rescale=True, rng=RNG),
        "ours truncated_normal(std, rescale=True)": lambda: truncated_normal(count, std, rescale=True, rng=RNG),
        "ours sample_weight(truncated_normal)": lambda: sample_weight(
            (2500, count // 2500), "truncated_normal", rng=RNG
        ),
    }
    for name, draw in cases.items():
        start = time.perf_counter()
        x = np.asarray(draw(), dtype=np.float64).ravel()
        ms = 1e3 * (time.perf_counter() - start)
        kurtosis = np.mean(x**4) / np.mean(x**2) ** 2
        print(f"{name:<46} {x.std():>9.6f} {abs(x).max():>8.4f} {kurtosis:>9.4f} {ms:>5.0f}", flush=True)
    print(f"{'exact, before and after rescaling':<46} {std * gamma:>9.6f} {std:>9.6f}")


def activations(layers: int = 50) -> None:
    print(f"\nGains: torch.nn.init.calculate_gain and the exact one; E h² after {layers} wide layers from E h² = 1")
    print(f"{'':<14} {'torch':>8} {'exact':>9} {'E h² torch':>11} {'E h² exact':>11} {'slope':>7} {'backward':>9}")
    for name, f in ACTIVATIONS.items():
        try:
            known = nn.init.calculate_gain(name)
        except ValueError:
            known = math.nan
        exact, stability = gain(f), fixed_point_stability(f)
        ends = []
        for g in (known, exact):
            v = 1.0
            for _ in range(layers):
                v = float(moment_map(f, v, g)) if 1e-12 < v < 1e12 and g == g else math.nan
            ends.append(v)
        print(
            f"{name:<14} {known:>8.4f} {exact:>9.6f} {ends[0]:>11.3g} {ends[1]:>11.3g}"
            f" {stability.slope:>7.4f} {stability.backward:>9.4f}"
        )


def chain(blocks: int = 10) -> None:
    print(
        f"\nA linear chain of {blocks} blocks 64 -> 256 -> 64, {DRAWS} draws: second moment at its end, mean (median)"
    )
    fills: dict[str, Fill] = {
        "torch xavier_normal_": lambda w: nn.init.xavier_normal_(w, generator=GENERATOR),
        "torch orthogonal_": lambda w: nn.init.orthogonal_(w, generator=GENERATOR),
        "JAX fan_geo_avg": jax("fan_geo_avg"),
        "ours geometric_": lambda w: geometric_(w, generator=GENERATOR),
        "ours scaled_orthogonal_": lambda w: scaled_orthogonal_(w, generator=GENERATOR),
    }
    for name, fill in fills.items():
        ends = []
        for _ in range(DRAWS):
            h = torch.randn(16, 64, generator=GENERATOR)
            for _ in range(blocks):
                for shape in ((256, 64), (64, 256)):
                    weight = torch.empty(*shape)
                    fill(weight)
                    h = h @ weight.T
            ends.append(float(h.square().mean()))
        print(f"{name:<26} {np.mean(ends):>10.3g} ({np.median(ends):.3g})", flush=True)


if __name__ == "__main__":
    dense()
    convolutions()
    truncated()
    activations()
    chain()
