"""The closed form beside scikit-learn: accuracy, log-loss, calibration error and fit time, all in one run.

    OMP_NUM_THREADS=1 python benchmarks/discriminant_peers.py

Part 1: 20 stratified 70/30 splits of four data sets, standardised on the training part, without constant columns
(some digits splits still have collinear pixels, hence solver="pinv", elsewhere the same fit).
Part 2: fit times on 100 000 rows, 50 features, 10 classes. Times are medians; log-losses are cut at 700 per row.
"""

import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from helpers.discriminant import ClassMoments, LinearClassifier, expected_calibration_error, linear_discriminant

SPLITS = 20


def closed(covariance: str = "within", shrinkage: str | None = None):
    def fit(X, y) -> LinearClassifier:
        return linear_discriminant(ClassMoments.from_data(X, y), covariance, shrinkage, "pinv", X=X, y=y)

    return fit


def peer(make):
    """A scikit-learn model as a LinearClassifier, so that log-probabilities are computed alike."""

    def fit(X, y) -> LinearClassifier:
        model = make().fit(X, y)
        if len(model.classes_) == 2:
            return LinearClassifier(np.vstack([0 * model.coef_, model.coef_]), np.append(0, model.intercept_))
        return LinearClassifier(model.coef_, model.intercept_)

    return fit


METHODS = {
    "closed form (within)": closed(),
    "closed form (total)": closed("total"),
    "closed form (Ledoit-Wolf)": closed(shrinkage="ledoit_wolf"),
    "sklearn LDA (svd)": peer(LinearDiscriminantAnalysis),
    "sklearn LDA (lsqr)": peer(lambda: LinearDiscriminantAnalysis(solver="lsqr")),
    "sklearn logistic C=1": peer(lambda: LogisticRegression(max_iter=1000)),
    "sklearn logistic C=inf": peer(lambda: LogisticRegression(C=np.inf, max_iter=1000)),
}


def timed(fit, X, y) -> tuple[LinearClassifier, float]:
    start = time.perf_counter()
    model = fit(X, y)
    return model, 1e3 * (time.perf_counter() - start)


def quality(model: LinearClassifier, X, y) -> tuple[float, float, float]:
    logp = model.log_proba(X)
    loss = np.minimum(-logp[np.arange(len(y)), y], 700).mean()
    return (logp.argmax(axis=1) == y).mean(), loss, expected_calibration_error(np.exp(logp), y)


def splits(load):
    X, y = load(return_X_y=True)
    for seed in range(SPLITS):
        train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        keep = train.std(axis=0) > 0
        mean, scale = train[:, keep].mean(axis=0), train[:, keep].std(axis=0)
        yield (train[:, keep] - mean) / scale, y_train, (test[:, keep] - mean) / scale, y_test


def small() -> None:
    print(f"{SPLITS} stratified 70/30 splits: mean ± standard deviation on the test part, median fit time")
    print(f"{'data':<14} {'method':<26} {'accuracy':>15} {'log-loss':>15} {'ECE':>6} {'fit ms':>8}")
    for load in (load_iris, load_wine, load_breast_cancer, load_digits):
        data = list(splits(load))
        for name, fit in METHODS.items():
            fit(*data[0][:2])  # warm up
            rows, times = [], []
            for X, y, X_test, y_test in data:
                model, ms = timed(fit, X, y)
                rows.append(quality(model, X_test, y_test))
                times.append(ms)
            (acc, loss, ece), (acc_sd, loss_sd, _) = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
            numbers = f"{acc:.4f} ± {acc_sd:.4f} {loss:>7.3f} ± {loss_sd:.3f} {ece:>6.3f} {np.median(times):>8.2f}"
            print(f"{load.__name__[5:]:<14} {name:<26} {numbers}", flush=True)


def large(n: int = 100_000, d: int = 50, C: int = 10, repeats: int = 5) -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(C, d)) * 0.36
    X, y, X_test, y_test = [part for _ in range(2) for part in _draw(rng, means, n)]
    print(f"\nn = {n}, d = {d}, C = {C}: median of {repeats} fits (logistic: one fit), quality on {n} new rows")
    print(f"{'method':<26} {'fit ms':>8} {'accuracy':>9} {'log-loss':>9} {'ECE':>7}")
    bayes = linear_discriminant(ClassMoments(np.full(C, 1 / C), means, np.eye(d)))
    cases = {"best possible rule": lambda X, y: bayes, **METHODS}
    for name, fit in cases.items():
        results = [timed(fit, X, y) for _ in range(1 if "logistic" in name else repeats)]
        acc, loss, ece = quality(results[-1][0], X_test, y_test)
        ms = "" if fit is cases["best possible rule"] else f"{np.median([ms for _, ms in results]):.0f}"
        print(f"{name:<26} {ms:>8} {acc:>9.4f} {loss:>9.4f} {ece:>7.4f}", flush=True)


def _draw(rng, means, n):
    y = rng.integers(0, len(means), n)
    return means[y] + rng.normal(size=(n, means.shape[1])), y


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # C=inf on separable data stops, it does not converge
        small()
        large()
