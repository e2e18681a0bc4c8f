"""Pictures of notebook 03: softmax attention as linear attention of infinite dimension."""

from typing import ClassVar

import numpy as np
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy import special

from helpers import linear_attention as la
from helpers.lab import data, style

Array = NDArray[np.float64]

_SOFTMAX, _OURS, _GREY = style.series(0), style.series(4), dict(color=style.COLORS["grey"], linestyle=":")


def digit_tokens(per_digit: int, seed: int) -> tuple[Array, Array]:
    """Queries and keys from pictures of the digits: each shape (10·per_digit, 64), sorted by digit, no picture in both.

    Pixels minus their means over all pictures, scaled so that the scores q·k have standard deviation 1.
    """
    pixels, digit = data.load("digits")
    pixels, digit = data.interleaved(pixels - pixels.mean(axis=0), digit, seed=seed)
    first = [np.flatnonzero(digit == c)[: 2 * per_digit] for c in range(10)]
    queries, keys = (np.concatenate([rows[part::2] for rows in first]) for part in (0, 1))
    q, k = pixels[queries], pixels[keys]
    scale = np.sqrt((q @ k.T).std())
    return q / scale, k / scale


def _softmax(scores: Array) -> Array:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _error(weights: Array, exact: Array) -> str:
    """Relative error in the Frobenius norm, in words where it nears rounding."""
    error = np.linalg.norm(weights - exact) / np.linalg.norm(exact)
    return f"{error:.2g}" if error > 1e-9 else "below 1e-9"


class Order:
    """A polynomial in place of the exponential: its curve, and what it does to an attention map of real tokens."""

    FAMILIES: ClassVar = ["Taylor", "limit", "Hermite", "shifted"]
    PER_DIGIT = 4
    _X = np.linspace(-8, 8, 201)
    _EDGES = np.linspace(-8, 8, 1601)  # cells of one hundredth

    def __init__(self, figure: Figure) -> None:
        figure.set_figheight(3.7)
        q, k = digit_tokens(self.PER_DIGIT, seed=0)
        self.dim, self.unit_scores = q.shape[1], q @ k.T
        curves, *maps = figure.subplots(1, 3)
        self.bad = curves.stairs(
            0 * self._EDGES[1:], self._EDGES, fill=True, color=style.COLORS["orange"], alpha=0.3,
            transform=curves.get_xaxis_transform(), label="negative or rising leftwards",
        )  # fmt: skip
        curves.plot(self._X, np.exp(self._X), label="$e^x$", **_SOFTMAX)
        self.curve = curves.plot([], [], label="polynomial", **_OURS)[0]
        self.band = [curves.axvline(0, label="95 % of the scores" if side == 0 else "", **_GREY) for side in (0, 1)]
        curves.set_yscale("symlog", linthresh=0.1, linscale=0.5)
        curves.set(
            xlim=(-8, 8), ylim=(-20, 5e3), xlabel="score $x$", title="weight",
            yticks=[-10, -1, 0, 1, 10, 100, 1000], yticklabels=["−10", "−1", "0", "1", "10", "100", "1000"],
        )  # fmt: skip
        # Square roots of the weights: a weight of one hundredth shows as a tenth of the colour range.
        norm = FuncNorm((lambda w: np.sign(w) * np.sqrt(np.abs(w)), lambda u: np.sign(u) * u**2), vmin=-0.6, vmax=0.6)
        blank = np.zeros(self.unit_scores.shape)
        self.maps = [axes.imshow(blank, cmap=style.SIGNED, norm=norm, interpolation="nearest") for axes in maps]
        middles = (np.arange(10) + 0.5) * self.PER_DIGIT - 0.5
        for axes, title in zip(maps, ("softmax", "polynomial"), strict=True):
            axes.set(title=title, xticks=middles, xticklabels=range(10), xlabel="digit of the key", yticks=[])
            axes.tick_params(length=0)
            axes.grid(visible=False)
        maps[0].set_yticks(middles, range(10))
        maps[0].set_ylabel("digit of the query")
        figure.colorbar(
            self.maps[0], ax=maps, shrink=0.75, aspect=25, pad=0.02, ticks=[-0.5, -0.1, 0, 0.1, 0.5]
        ).set_label("weight")
        figure.legend(loc="outside lower center", ncols=4)

    def update(self, order: int, family: str, beta: float) -> str:
        """Redraw curve and map at this order, family and inverse temperature."""
        scores = beta * self.unit_scores
        shift = float(np.abs(scores).max())
        coefficients = _coefficients(family, order, beta, shift)
        polynomial = Polynomial(coefficients)
        # A common factor cancels in attention; the curve is shown with the one that makes it comparable with e^x.
        factor = {"Hermite": np.exp(beta**2 / 2), "shifted": 1 / coefficients[0]}.get(family, 1.0)
        self.curve.set_data(self._X, factor * polynomial(self._X))
        middles = (self._EDGES[1:] + self._EDGES[:-1]) / 2
        self.bad.set_data(_upside_down(family, polynomial, middles).astype(float))
        for line, bound in zip(self.band, np.quantile(scores, [0.025, 0.975]), strict=True):
            line.set_xdata([bound, bound])
        exact, raw = _softmax(scores), polynomial(scores)
        totals = raw.sum(axis=1, keepdims=True)
        weights = raw / totals
        for image, values in zip(self.maps, (exact, weights), strict=True):
            image.set_data(values)
        size = la.polynomial_feature_dim(self.dim, order)
        kernel = f"D = {size:,} features" if size < 1e6 else f"D = {size:.1e} features"
        if coefficients.min() < 0:
            kernel = "a negative coefficient, so no feature map"
        uniform, bad = np.full_like(exact, 1 / exact.shape[1]), int((totals <= 0).sum())
        shaded = _upside_down(family, polynomial, scores)
        theirs, ours = (values[shaded].sum() / len(exact) for values in (exact, weights))
        return (
            f"{family}, order {order}: {kernel}. Error of the map {_error(weights, exact)} (uniform weights "
            f"{_error(uniform, exact)}). In the shaded part, where weights are negative or rise leftwards, lie "
            f"{shaded.mean():.1%} of the scores; softmax gives them {theirs:.1%} of the weight, the polynomial "
            f"{ours:.1%}. {bad} of {len(exact)} row sums are not positive."
        )


def _coefficients(family: str, order: int, beta: float, shift: float) -> Array:
    if family == "Hermite":
        return la.hermite_coefficients(order, beta)
    if family == "shifted":
        return la.shifted_taylor_coefficients(order, shift)
    return {"Taylor": la.taylor_coefficients, "limit": la.limit_coefficients}[family](order)


def _upside_down(family: str, polynomial: Polynomial, x: Array) -> NDArray[np.bool_]:
    """Scores whose weight is negative or grows as the score falls."""
    if family == "limit":  # all its roots are -n: near it the signs would be those of rounding
        return x < -polynomial.degree()
    return (polynomial(x) < 0) | (polynomial.deriv()(x) < 0)


class Spectrum:
    """Singular values of softmax attention with Gaussian tokens, and how many of them count, against temperature."""

    N = 256
    DIMS = (2, 4, 16, 64)
    RTOL = 0.01
    _BETAS = np.geomspace(0.01, 64, 11)
    _FLOOR = 1e-6

    def __init__(self, figure: Figure) -> None:
        figure.set_figheight(3.9)
        rng = np.random.default_rng(0)
        self.tokens = {d: rng.standard_normal((2, self.N, d)) for d in self.DIMS}
        self.ranks = {
            d: [la.numerical_rank(self._weights(d, beta), self.RTOL) for beta in self._BETAS] for d in self.DIMS
        }
        left, right = figure.subplots(1, 2)
        self.steps = left.plot([], [], label="N → ∞", **style.series(1))[0]
        self.values = left.plot([], [], markersize=3, label="measured", **style.series(0, marker=True, line=False))[0]
        self.blocks = [left.axvline(1, label="C(d + n, n)" if n == 0 else "", **_GREY) for n in range(8)]
        left.axhline(self.RTOL, color=style.COLORS["black"], linewidth=0.8)
        left.set(
            xscale="log", yscale="log", xlim=(0.9, self.N), ylim=(self._FLOOR, 1.5), title="spectrum",
            xlabel="number of the singular value", ylabel="relative to the largest",
        )  # fmt: skip
        self.curve = right.plot([], [], label="softmax", **style.series(0))[0]
        self.here = right.plot([], [], markersize=10, label="chosen β", **style.series(5, marker=True, line=False))[0]
        self.limits = [
            right.axhline(1, label=f"order {n}", **look) for n, look in ((1, style.series(2)), (2, style.series(4)))
        ]
        right.set(
            xscale="log", yscale="log", xlim=(0.008, 80), ylim=(0.9, 300), xlabel="inverse temperature β",
            ylabel="values above 1 % of the largest", title="rank",
        )  # fmt: skip
        figure.legend(loc="outside lower center", ncols=7)

    def _weights(self, d: int, beta: float) -> Array:
        q, k = self.tokens[d]
        return _softmax(beta / np.sqrt(d) * q @ k.T)

    def update(self, beta: float, dim: int) -> str:
        """Recompute the spectrum at this temperature and dimension."""
        values = np.linalg.svd(self._weights(dim, beta), compute_uv=False)
        relative = values / values[0]
        kept = relative > self._FLOOR
        self.values.set_data(np.arange(1, self.N + 1)[kept], relative[kept])
        ends = np.array([la.polynomial_feature_dim(dim, n) for n in range(8)])
        for line, end in zip(self.blocks, ends, strict=True):
            line.set_xdata([end + 0.5, end + 0.5])
            line.set_visible(end < self.N)
        rank = int((relative > self.RTOL).sum())
        effective_rank = np.exp(special.entr(values / values.sum()).sum())  # of the values at hand; the SVD is the cost
        self.curve.set_data(self._BETAS, self.ranks[dim])
        self.here.set_data([beta], [rank])
        for n, line in enumerate(self.limits, start=1):
            line.set_ydata([min(ends[n], self.N)] * 2)
        return (
            f"d = {dim}, β = {beta:.3g}: {rank} of {self.N} singular values exceed 1 % of the largest, effective rank "
            f"{effective_rank:.3g}. {self._staircase(beta, dim, ends)} "
            f"Keys that are some query's favourite: {self._favourites(dim)}."
        )

    def _favourites(self, d: int) -> int:
        q, k = self.tokens[d]
        return np.unique((q @ k.T).argmax(axis=1)).size

    def _staircase(self, beta: float, dim: int, ends: Array) -> str:
        exists = bool(beta / np.sqrt(dim) < np.sqrt(0.5))
        self.steps.set_visible(exists)
        if not exists:
            return "No staircase: β/√d is not below 0.71."
        rho = float(np.divide(*la.softmax_attention_spectrum(dim, beta, 2).values[::-1]))
        levels = np.arange(8)
        right_ends = np.minimum(ends, self.N)
        left_ends = np.append(1, right_ends[:-1] + 1)
        corners = np.column_stack([left_ends - 0.5, right_ends + 0.5]).ravel()
        self.steps.set_data(corners, np.repeat(rho**levels, 2))
        return f"Each step is {rho:.2g} of the last."


class RandomFeatures:
    """How estimates of one weight by random features scatter around the truth."""

    KINDS: ClassVar = ["plain", "pairs", "waves", "orthogonal"]
    REPEATS = 300
    DIM = 16
    _MOST = 1024
    _EDGES = np.arange(-0.55, 4.1, 0.1)  # 1 is the middle of a bin
    _COUNTS = 2 ** np.arange(2, 11)

    def __init__(self, figure: Figure) -> None:
        figure.set_figheight(3.9)
        rng = np.random.default_rng(0)
        # Query and key span a plane; all that matters of a direction w in DIM dimensions is its part in that plane.
        self.pool = {"independent": rng.standard_normal((self.REPEATS, self._MOST, 2))}
        blocks = (self.REPEATS, self._MOST // self.DIM)
        frame = rng.standard_normal((*blocks, self.DIM, 2))  # becomes two orthonormal columns, as of a Haar matrix
        frame[..., 0] /= np.linalg.norm(frame[..., 0], axis=-1, keepdims=True)
        frame[..., 1] -= frame[..., 0] * (frame[..., 0] * frame[..., 1]).sum(axis=-1, keepdims=True)
        frame[..., 1] /= np.linalg.norm(frame[..., 1], axis=-1, keepdims=True)
        lengths = np.sqrt(rng.chisquare(self.DIM, size=(*blocks, self.DIM, 1)))
        self.pool["orthogonal"] = (frame * lengths).reshape(self.REPEATS, self._MOST, 2)
        left, right = figure.subplots(1, 2)
        self.bars = left.stairs(0 * self._EDGES[1:], self._EDGES, fill=True, color=style.COLORS["sky"])
        self.marks = [
            left.axvline(1, label=label, **style.series(k)) for k, label in ((4, "median"), (2, "mean of the draws"))
        ]
        left.axvline(1, label="truth", **_GREY)
        left.set_yscale("function", functions=(np.sqrt, np.square))  # so that the rare large estimates are seen
        left.set(
            xlim=(-0.6, 4.1), ylim=(0, 1), yticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1],
            xlabel="estimate / true weight (ends: beyond)", ylabel=f"share of {self.REPEATS} draws",
            title="one weight, drawn again and again",
        )  # fmt: skip
        self.lines = {
            kind: right.plot([], [], label=kind, **style.series(k))[0]
            for k, kind in zip((0, 1, 3, 5), self.KINDS, strict=True)
        }
        self.here = right.plot([], [], marker="o", markersize=9, linestyle="none", color=style.COLORS["black"])[0]
        right.set(
            xscale="log", yscale="log", xlim=(3.5, 1200), ylim=(1e-3, 1e4), xlabel="number of features",
            ylabel="exact relative RMSE", title="error by formula",
        )  # fmt: skip
        figure.legend(loc="outside lower center", ncols=7)

    def _pair(self, size: float, angle: float, dim: int) -> tuple[Array, Array]:
        turn = np.radians(angle)
        pair = np.zeros((2, dim))
        pair[0, 0], pair[1, :2] = np.sqrt(size), np.sqrt(size) * np.array([np.cos(turn), np.sin(turn)])
        return pair[0], pair[1]

    def _estimates(self, size: float, angle: float, features: int, kind: str) -> Array:
        q, k = self._pair(size, angle, 2)
        per_row, feature_map = _MAPS[kind]
        rows = self.pool["orthogonal" if kind == "orthogonal" else "independent"][:, : features // per_row]
        flat = rows.reshape(-1, 2)
        products = len(flat) * feature_map(q, flat) * feature_map(k, flat)
        return products.reshape(per_row, self.REPEATS, -1).sum(axis=0).mean(axis=1) / np.exp(q @ k)

    def _rmse(self, size: float, angle: float, features: int, kind: str) -> float:
        per_row, _ = _MAPS[kind]
        name = {"pairs": "hyperbolic", "waves": "trigonometric"}.get(kind, "positive")
        return np.sqrt(
            la.random_feature_relative_variance(
                *self._pair(size, angle, self.DIM), features // per_row, name, orthogonal=kind == "orthogonal"
            )
        )

    def update(self, size: float, angle: float, features: int, kind: str) -> str:
        """Draw the estimates again for a pair with |q|² = |k|² = size at this angle."""
        estimates = self._estimates(size, angle, features, kind)
        share = np.histogram(np.clip(estimates, -0.5, 4.0), self._EDGES)[0] / self.REPEATS
        self.bars.set_data(share)
        median, mean = np.median(estimates), estimates.mean()
        for line, value in zip(self.marks, (median, mean), strict=True):
            line.set_xdata([value, value])
        for name, line in self.lines.items():
            line.set_data(self._COUNTS, np.maximum([self._rmse(size, angle, m, name) for m in self._COUNTS], 1e-13))
        rmse = self._rmse(size, angle, features, kind)
        self.here.set_data([features], [max(rmse, 1e-13)])
        q, k = self._pair(size, angle, 2)
        s, t = ((q + k) ** 2).sum(), ((q - k) ** 2).sum()
        shown, below = "0" if rmse < 1e-6 else f"{rmse:.2g}", np.mean(estimates < 1 - 1e-9)
        return (
            f"{kind}, {features} features; |q + k|² = {s:.1f}, |q − k|² = {t:.1f}. Estimate/truth: median "
            f"{median:.2f}, mean of {self.REPEATS} draws {mean:.2f}, {below:.0%} below 1. Exact RMSE {shown}."
        )


_MAPS = {
    "plain": (1, la.positive_random_features), "orthogonal": (1, la.positive_random_features),
    "pairs": (2, la.hyperbolic_random_features), "waves": (2, la.trigonometric_random_features),
}  # fmt: skip


class Denominators:
    """Row sums of causal Taylor attention, and the largest weight that results."""

    N, DIM = 256, 64
    _FLOOR = 1e-6

    def __init__(self, figure: Figure) -> None:
        figure.set_figheight(3.9)
        rng = np.random.default_rng(1)
        q, self.k = rng.standard_normal((2, self.N, self.DIM))
        self.q = q / np.sqrt(self.DIM)
        left, right = figure.subplots(1, 2)
        rows = dict(markersize=3, linestyle="none")
        self.good = left.plot([], [], marker="o", color=style.COLORS["blue"], label="positive", **rows)[0]
        self.bad = left.plot(
            [], [], marker="X", color=style.COLORS["vermilion"], label="not positive", **rows | {"markersize": 6}
        )[0]
        left.axhline(0, color=style.COLORS["black"], linewidth=0.8)
        left.set_yscale("symlog", linthresh=1)
        left.set(
            xlim=(0, self.N + 1), ylim=(-1e7, 1e7), xlabel="row i", ylabel="sum of its weights", title="denominators",
            yticks=[-1e6, -1e4, -1e2, 0, 1e2, 1e4, 1e6],
        )  # fmt: skip
        self.misplaced = right.plot([], [], marker="^", color=style.COLORS["green"], label="misplaced", **rows)[0]
        right.axhline(1, color=style.COLORS["grey"], linestyle=":", label="all of it")
        right.set(
            yscale="log", xlim=(0, self.N + 1), ylim=(self._FLOOR / 2, 1e4), xlabel="row i",
            ylabel="½ Σ |weight − softmax weight|",
            title="weight in the wrong place",
        )  # fmt: skip
        figure.legend(loc="outside lower center", ncols=4)

    def update(self, order: int, beta: float, key_mean: float, centred: bool) -> str:
        """Recompute rows and weights; centring subtracts the mean of all keys."""
        keys = self.k + key_mean
        keys = keys - keys.mean(axis=0) if centred else keys
        scores = beta * self.q @ keys.T
        mask = np.tri(self.N, dtype=bool)
        raw = np.where(mask, Polynomial(la.taylor_coefficients(order))(scores), 0.0)
        sums = raw.sum(axis=1)
        index = np.arange(1, self.N + 1)
        for line, chosen in ((self.good, sums > 0), (self.bad, sums <= 0)):
            line.set_data(index[chosen], sums[chosen])
        exact = _softmax(np.where(mask, scores, -np.inf))
        misplaced = np.abs(raw / sums[:, None] - exact).sum(axis=1) / 2
        self.misplaced.set_data(index, np.maximum(misplaced, self._FLOOR))
        centring = " removed" if centred else ""
        return (
            f"Order {order}, β = {beta:.2f}, key mean {key_mean:.1f}{centring}: {int((sums <= 0).sum())} of {self.N} "
            f"denominators not positive, {np.mean(raw[mask] < 0):.1%} of the weights negative. Weight in the wrong "
            f"place: median row {np.median(misplaced):.2g}, worst {misplaced.max():.2g}."
        )
