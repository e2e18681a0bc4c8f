"""Pictures of notebook 01: closed-form logistic regression."""

from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import gamma

from helpers import discriminant as ld
from helpers.lab import data, style
from helpers.lab.figures import legend_below

Array = NDArray[np.float64]

_WITHIN, _TOTAL, _SQUARES, _LIKELIHOOD = (style.series(k) for k in (0, 4, 2, 5))
_CORRELATION = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])  # Cholesky factor: unit variances, correlation 0.5
_SHOWN = 600  # points of the scatter plot, in the right proportions; the fits use all
_FEWEST = 30  # predictions in a bin below which its frequency is noise and is not drawn


class TwoClasses:
    """Two point clouds that move smoothly: the random numbers are drawn once, the controls transform them.

    The classes lie at Mahalanobis distance `separation` along the first axis. A departure acts by an ``amount`` in
    [0, 1]: 'leverage' pushes up to a fifth of the points 8 units further to their own side, 'heavy tails' turns normal
    noise into Student t noise with ``2 / amount`` degrees of freedom, 'spread' stretches class 1 up to threefold.
    """

    DEPARTURES: ClassVar = ["leverage", "heavy tails", "spread"]

    def __init__(self, rows: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.noise = rng.standard_normal((2, rows, 2)) @ _CORRELATION.T
        self.uniform = rng.uniform(size=(2, rows))

    def draw(
        self, rows: int, separation: float, prior: float, kind: str = "leverage", amount: float = 0.0
    ) -> tuple[Array, NDArray[np.int64]]:
        """Features, shape (rows, 2), and labels of `rows` points, at least two of each class."""
        count1 = min(max(round(prior * rows), 2), rows - 2)
        clouds = [self._cloud(c, n, separation, kind, amount) for c, n in enumerate((rows - count1, count1))]
        return np.concatenate(clouds), np.repeat([0, 1], [rows - count1, count1])

    def _cloud(self, c: int, rows: int, separation: float, kind: str, amount: float) -> Array:
        noise, uniform, side = self.noise[c, :rows], self.uniform[c, :rows], 2 * c - 1
        points = noise.copy()
        if kind == "heavy tails" and amount > 0:
            shape = 1 / amount  # half the degrees of freedom
            points /= np.sqrt(gamma.ppf(uniform, shape, scale=1 / shape))[:, None]
        if kind == "spread" and c == 1:
            points *= 1 + 2 * amount
        points[:, 0] += side * separation / 2 * _CORRELATION[1, 1]  # so that separation is the Mahalanobis distance
        if kind == "leverage":
            points[uniform < 0.2 * amount, 0] += 8 * side
        return points


class _Clouds:
    """Left panel shared by two pictures: points of both classes and decision lines."""

    def __init__(self, axes: Axes, limit: float, lines: dict[str, dict]) -> None:
        marker = [dict(marker=m, linestyle="none", markersize=3, alpha=0.5) for m in ("o", "^")]
        colors = (style.COLORS["sky"], style.COLORS["orange"])
        self.points = [
            axes.plot([], [], color=colors[c], label=f"class {c}", **marker[c])[0] for c in (0, 1)
        ]  # fmt: skip
        self.lines = {name: axes.plot([], [], label=name, linewidth=2, **look)[0] for name, look in lines.items()}
        axes.set(xlim=(-limit, limit), ylim=(-5, 5), xlabel="$x_1$", ylabel="$x_2$", title="where each rule cuts")

    def show(self, features: Array, labels: Array, rules: dict[str, tuple[Array, float] | None]) -> None:
        step = max(1, len(labels) // _SHOWN)
        for c, points in enumerate(self.points):
            points.set_data(*features[labels == c][::step].T)
        for name, rule in rules.items():
            _draw_line(self.lines[name], rule)


def _draw_line(line: Line2D, rule: tuple[Array, float] | None) -> None:
    """Set a line to w'x + b = 0, or hide it when there is no rule or no direction."""
    length = 0.0 if rule is None else float(rule[0] @ rule[0])
    line.set_visible(length > 1e-12)
    if length > 1e-12:
        w, b = rule
        foot, along = -b * w / length, np.array([-w[1], w[0]]) / np.sqrt(length)
        line.set_data(*np.column_stack([foot - 60 * along, foot + 60 * along]))


class _Reliability:
    """Right panel shared by two pictures: observed frequency against predicted probability."""

    def __init__(self, axes: Axes, looks: dict[str, dict]) -> None:
        axes.plot([0, 1], [0, 1], color=style.COLORS["grey"], linestyle=":", label="calibrated")
        self.curves = {
            name: axes.plot([], [], marker=style.MARKERS[k], markersize=4, label=name, **look)[0]
            for k, (name, look) in enumerate(looks.items())
        }
        axes.set(
            xlim=(0, 1), ylim=(0, 1), xlabel="predicted $p(1 \\mid x)$", ylabel="observed frequency",
            title="is the probability right?",
        )  # fmt: skip

    def show(self, probabilities: dict[str, Array | None], labels: Array) -> None:
        for name, p in probabilities.items():
            self.curves[name].set_visible(p is not None)
            if p is not None:
                curve = ld.reliability_curve(p, labels)
                enough = curve.count >= _FEWEST
                self.curves[name].set_data(curve.confidence[enough], curve.frequency[enough])


def _binary(features: Array, labels: Array, covariance: str) -> tuple[Array, float]:
    moments = ld.ClassMoments.from_data(features, labels, n_classes=2)
    return ld.linear_discriminant(moments, covariance=covariance).to_binary()


def _maximum_likelihood(features: Array, labels: Array) -> tuple[Array, float] | None:
    """The maximum-likelihood line, or None where none exists because a line separates the classes."""
    w, b, info = ld.logistic_mle(features, labels)
    return (w, b) if info.converged else None


def _probability(rule: tuple[Array, float] | None, features: Array) -> Array | None:
    return None if rule is None else expit(features @ rule[0] + rule[1])


def _log_loss(rule: tuple[Array, float] | None, features: Array, labels: Array) -> str:
    if rule is None:
        return "none (separable)"
    signed = (features @ rule[0] + rule[1]) * (1 - 2 * labels)
    return f"{np.logaddexp(0, signed).mean():.3f}"


def _signed(number: float) -> str:
    """Two decimals with a sign, and no minus before a zero."""
    return f"{round(float(number), 2) + 0.0:+.2f}"


class ThreeLines:
    """Four rules on Gaussian classes: three of them parallel, cut at -t, -t/(1-R²) and -sinh t."""

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        self.train, self.test = TwoClasses(5000, seed=1), TwoClasses(20000, seed=2)
        looks = {"within": _WITHIN, "total": _TOTAL, "least squares": _SQUARES, "max. likelihood": _LIKELIHOOD}
        self.clouds = _Clouds(left, 7, looks)
        self.reliability = _Reliability(right, {name: look for name, look in looks.items() if name != "least squares"})
        legend_below(figure, right, left)

    def update(self, separation: float, prior: float, samples: int) -> str:
        """Refit all four rules and say where the three parallel ones cut."""
        features, labels = self.train.draw(samples, separation, prior)
        test, test_labels = self.test.draw(20000, separation, prior)
        design = np.column_stack([features, np.ones(samples)])
        slope_and_offset = np.linalg.lstsq(design, labels.astype(float), rcond=None)[0]
        rules = {
            "within": _binary(features, labels, "within"),
            "total": _binary(features, labels, "total"),
            "least squares": (slope_and_offset[:2], slope_and_offset[2] - 0.5),
            "max. likelihood": _maximum_likelihood(features, labels),
        }
        self.clouds.show(features, labels, rules)
        self.reliability.show({name: _probability(rules[name], test) for name in self.reliability.curves}, test_labels)

        difference = features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)
        p1, mahalanobis2 = labels.mean(), float(difference @ rules["within"][0])
        cut = ld.decision_thresholds(p1, mahalanobis2)
        cuts = ", ".join(f"{name.replace('_', ' ')} {_signed(u)}" for name, u in cut._asdict().items())
        losses = ", ".join(f"{name} {_log_loss(rules[name], test, test_labels)}" for name in self.reliability.curves)
        r2 = 1 - 1 / (1 + p1 * (1 - p1) * mahalanobis2)
        return f"R² = {r2:.2f}. Cuts on the score u: {cuts}. Test log-loss: {losses}."


class Departure:
    """Closed form against maximum likelihood when the classes are no longer Gaussian with one covariance."""

    def __init__(self, figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        self.train, self.test = TwoClasses(5000, seed=3), TwoClasses(20000, seed=4)
        looks = {"closed form": _WITHIN, "max. likelihood": _LIKELIHOOD}
        self.clouds = _Clouds(left, 13, looks)
        self.reliability = _Reliability(right, looks)
        legend_below(figure, right, left)

    def update(self, kind: str, amount: float, separation: float, samples: int) -> str:
        """Refit both rules on data that departs by `amount` and compare them on a large test set."""
        features, labels = self.train.draw(samples, separation, 0.5, kind, amount)
        test, test_labels = self.test.draw(20000, separation, 0.5, kind, amount)
        rules = {"closed form": _binary(features, labels, "within")}
        rules["max. likelihood"] = _maximum_likelihood(features, labels)
        self.clouds.show(features, labels, rules)
        probabilities = {name: _probability(rule, test) for name, rule in rules.items()}
        self.reliability.show(probabilities, test_labels)
        parts = []
        for name, p in probabilities.items():
            if p is None:
                parts.append(f"{name}: none, a line separates the classes")
                continue
            error = ld.expected_calibration_error(np.column_stack([1 - p, p]), test_labels)
            accuracy = np.mean((p > 0.5) == test_labels)
            parts.append(f"{name}: accuracy {accuracy:.3f}, calibration error {error:.3f}")
        return f"Departure '{kind}' at {amount:.2f}. Test set: " + "; ".join(parts) + "."


class Peaking:
    """Test accuracy against sample size on 100 features of the digits, and the covariance spectrum behind it."""

    N_FEATURES = 100
    GRID = (30, 50, 70, 85, 95, 102, 110, 118, 130, 160, 220, 320, 500, 800, 1200)
    HOLE = N_FEATURES + 10  # the class means take one dimension each
    _FLOOR = 1e-7

    def __init__(self, figure: Figure) -> None:
        digits, labels = data.load("digits")
        features = data.random_features(digits, self.N_FEATURES, seed=0)
        self.parts = [data.interleaved(features, labels, seed=seed) for seed in range(3)]
        self.known: dict[tuple[int, float], float] = {}
        left, right = figure.subplots(1, 2)
        plain = [self._accuracy(n, 0.0) for n in self.GRID]
        left.plot(self.GRID, plain, label="no shrinkage", **style.series(4, marker=True))
        self.curve = left.plot(self.GRID, plain, label="chosen shrinkage", **style.series(0))[0]
        self.here = left.plot([], [], label="chosen n", **style.series(5, marker=True, line=False), markersize=10)[0]
        left.axvline(self.HOLE, color=style.COLORS["grey"], linestyle=":", label="n = d + C")
        left.set(
            xscale="log", xlim=(28, 1300), ylim=(0, 1), xlabel="training samples n", ylabel="test accuracy",
            title="the hole at n = d + C",
        )  # fmt: skip
        left.legend(loc="lower right")
        self.spectrum = [
            right.plot([], [], label=label, markersize=3, **style.series(k, marker=True, line=False))[0]
            for k, label in ((4, "estimated"), (0, "after shrinkage"))
        ]
        right.set(
            yscale="log", xlim=(0, self.N_FEATURES + 1), ylim=(self._FLOOR, 100), xlabel="direction, sorted",
            ylabel="variance / mean variance", title="within-class variances",
        )  # fmt: skip
        right.legend(loc="lower left")

    def _accuracy(self, n: int, shrinkage: float) -> float:
        """Mean test accuracy over the draws; remembered, since the whole curve stays when only n moves."""
        if (n, shrinkage) not in self.known:
            self.known[n, shrinkage] = self._measure(n, shrinkage)
        return self.known[n, shrinkage]

    def _measure(self, n: int, shrinkage: float) -> float:
        hits = []
        for features, labels in self.parts:
            moments = ld.ClassMoments.from_data(features[:n], labels[:n])
            solver = "eigh" if shrinkage > 0 else "pinv"
            rule = ld.linear_discriminant(moments, shrinkage=shrinkage or None, solver=solver)
            hits.append(np.mean(rule.logits(features[1250:]).argmax(axis=1) == labels[1250:]))
        return float(np.mean(hits))

    def update(self, samples: int, shrinkage: float) -> str:
        """Recompute the whole curve at this shrinkage, and the spectrum at this sample size."""
        self.curve.set_ydata([self._accuracy(n, shrinkage) for n in self.GRID])
        accuracy = self._accuracy(samples, shrinkage)
        self.here.set_data([samples], [accuracy])
        features, labels = self.parts[0]
        covariance = ld.ClassMoments.from_data(features[:samples], labels[:samples]).within_cov()
        raw = np.linalg.eigvalsh(covariance)[::-1] / (np.trace(covariance) / self.N_FEATURES)
        for artist, values in zip(self.spectrum, (raw, (1 - shrinkage) * raw + shrinkage), strict=True):
            kept = values > self._FLOOR
            artist.set_data(np.arange(1, values.size + 1)[kept], values[kept])
        gone = int(np.sum(raw <= self._FLOOR))
        return (
            f"n = {samples}, shrinkage {shrinkage:.2f}: test accuracy {accuracy:.2f} (without shrinkage "
            f"{self._accuracy(samples, 0.0):.2f}); {gone} of {self.N_FEATURES} directions show no variance, "
            f"condition number of what is inverted {_condition(raw, shrinkage):.1e}."
        )


def _condition(relative: Array, shrinkage: float) -> float:
    """Condition number after shrinkage, over the directions that keep any variance."""
    kept = ((1 - shrinkage) * relative + shrinkage)[(relative > 1e-7) | (shrinkage > 0)]
    return float(kept.max() / kept.min())


class Offset:
    """What a large common offset does to two ways of accumulating a covariance."""

    _OFFSETS = np.logspace(0, 9, 37)
    _FLOOR = 1e-13  # below, the last bits differ from processor to processor: nothing to see there
    _DTYPES: ClassVar = {"float64": np.float64, "float32": np.float32}
    _LOOKS: ClassVar = {"raw sums": style.series(4), "merged moments": style.series(0)}

    def __init__(self, figure: Figure) -> None:
        rng = np.random.default_rng(0)
        self.points = rng.standard_normal((512, 2)) @ _CORRELATION.T
        centred = self.points - self.points.mean(axis=0)
        self.truth = centred.T @ centred / len(centred)
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        self.curves = {name: left.plot([], [], label=name, **look)[0] for name, look in self._LOOKS.items()}
        self.here = {
            name: left.plot([], [], marker="o", markersize=8, color=look["color"], linestyle="none")[0]
            for name, look in self._LOOKS.items()
        }
        left.axhline(1, color=style.COLORS["grey"], linestyle=":")
        left.set(
            xscale="log", yscale="log", xlim=(0.8, 1.2e9), ylim=(self._FLOOR, 1e13), title="error against offset",
            xlabel="offset added to every feature", ylabel="relative error of the covariance",
        )  # fmt: skip
        right.plot(*self.points.T, marker=".", linestyle="none", color=style.COLORS["grey"], alpha=0.4, label="points")
        self.ellipses = {
            name: right.add_patch(
                Ellipse((0, 0), 1, 1, fill=False, linewidth=2, edgecolor=look["color"], linestyle=look["linestyle"])
            )
            for name, look in reversed(self._LOOKS.items())
        }
        right.set(
            xlim=(-4, 4), ylim=(-4, 4), xlabel="$x_1$ - offset", ylabel="$x_2$ - offset", title="two-sigma ellipse",
            aspect="equal",
        )  # fmt: skip
        legend_below(figure, right, left)
        self.tables = {
            name: [self._errors(self._estimates(offset, dtype)) for offset in self._OFFSETS]
            for name, dtype in self._DTYPES.items()
        }

    def _estimates(self, offset: float, dtype: type) -> dict[str, Array]:
        """Covariances of the points, moved by the offset and rounded to dtype, by both ways."""
        rows = (self.points + offset).astype(dtype)
        mean, mean_of_products = _running_mean(rows), _running_mean(rows[:, :, None] * rows[:, None, :])
        raw = (mean_of_products - np.outer(mean, mean)).astype(float)
        moments = ld.ClassMoments.empty(1, 2)
        for chunk in np.split(rows, 16):
            moments = moments.update(chunk, np.zeros(len(chunk), dtype=int))
        return {"raw sums": raw, "merged moments": moments.within_cov()}

    def _errors(self, estimates: dict[str, Array]) -> dict[str, float]:
        scale = np.abs(self.truth).max()
        return {name: float(np.abs(s - self.truth).max() / scale) for name, s in estimates.items()}

    def update(self, offset: float, precision: str) -> str:
        """Mark both errors at this offset and draw what is left of the covariance."""
        dtype = self._DTYPES[precision]
        estimates = self._estimates(offset, dtype)
        error = self._errors(estimates)
        for name, curve in self.curves.items():
            errors = np.array([row[name] for row in self.tables[precision]])
            seen = errors > self._FLOOR
            curve.set_data(self._OFFSETS[seen], errors[seen])
            self.here[name].set_data([offset], [error[name]])
        gone = [name for name, s in estimates.items() if not _draw_ellipse(self.ellipses[name], s)]
        words = ", ".join(f"{name} {value:.0e}" for name, value in error.items())
        return f"{precision} at offset {offset:.3g}: relative error of {words}." + (
            f" Not a covariance any more: {' and '.join(gone)}." if gone else ""
        )


def _running_mean(rows: Array) -> Array:
    """Mean by adding one row after the other: the same digits on every processor, unlike a blocked sum."""
    return np.cumsum(rows, axis=0)[-1] / rows.dtype.type(len(rows))


def _draw_ellipse(ellipse: Ellipse, covariance: Array) -> bool:
    """Set an ellipse to two standard deviations, or hide it where a variance is not positive; whether it is shown."""
    variances, axes = np.linalg.eigh(covariance)
    shown = bool(variances[0] > 0)
    ellipse.set_visible(shown)
    if shown:
        width, height = 4 * np.sqrt(variances)
        ellipse.set(width=width, height=height, angle=np.degrees(np.arctan2(axes[1, 0], axes[0, 0])))
    return shown
