"""Train every row of the table behind the contrastive experiment, helpers/stored/contrastive_sweep.json.

    OMP_NUM_THREADS=1 python examples/contrastive_sweep.py            # some twenty minutes on one core
    python examples/contrastive_sweep.py --quick --out /tmp/try.json  # eight kinds of rows, a few steps each

Results are written after every row, and rows that the file already holds are not trained again. Rows with the same
batch size and strength have seen the same views from the same start: compare them seed by seed.
"""

import time
from types import SimpleNamespace

import numpy as np
import torch
from sklearn.datasets import load_digits

from helpers.contrastive import digits_split, encoder_accuracies, train_encoders
from helpers.lab.stored import command_line, fill

DEFAULTS = {
    "temperature": 0.1,
    "learning_rate": 1e-3,
    "adam_eps": 1e-8,
    "strength": 1.0,
    "negatives": None,
    "optimizer": "Adam",
    "dtype": "float32",
    "score_dtype": None,
    "seeds": 10,
}
METRIC = {"strength": 1.4, "copies": 4, "seed": 0, "neighbours": 5}
MILD = 0.6  # encoders trained on weak views are judged on weaker ones too: at 1.4 they are hardly better than untrained
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FIRST_STEPS = 10  # whose losses, in float64 and for seed 0 alone, tell whether a stored row is still what the code does


def cells() -> list[dict]:
    """Settings of every row, in the order in which they are trained; the keys are arguments of train_encoders."""
    ce, exact, flat, batch = "cross-entropy", "exact", "FlatNCE", "log of the batch mean"
    rows = []

    def add(section: str, loss: str, batch_size: int, steps: int, **others: object) -> None:
        rows.append({"section": section, "loss": loss, "batch_size": batch_size, "steps": steps} | DEFAULTS | others)

    for n in (2, 4, 8, 16, 32, 64, 128):
        for loss in (ce, exact, flat, batch):
            add("same steps", loss, n, 1500)
        add("same steps", ce, n, 1500, dtype="float64")
    for n in (2, 8, 32):
        for loss in (ce, exact, flat):
            for half in ("bfloat16", "float16"):
                add("same steps", loss, n, 1500, score_dtype=half)
    for n in (2, 8, 64):
        add("same steps", "xi", n, 1500)
    for n in (2, 4, 8, 16, 32, 64):
        for loss in (ce, flat):
            add("same samples", loss, n, 24_000 // n)
    for n, temperature in ((2, 0.05), (4, 0.02)):
        saturated = {"temperature": temperature, "strength": 0.2, "seeds": 16, "judged_at": MILD}
        for loss in (ce, exact, flat, batch):
            add("saturated", loss, n, 3000, **saturated)
        add("saturated", ce, n, 3000, dtype="float64", **saturated)
        for loss in (ce, exact):
            add("saturated", loss, n, 3000, adam_eps=1e-20, **saturated)
    for negatives in (1, 2, 6, 14, 62, 126):
        for loss in (ce, flat):
            add("few negatives", loss, 64, 1500, negatives=negatives)
    for n in (8, 4):
        for loss in (ce, exact, flat, batch):
            add("paired", loss, n, 3000, seeds=24)
        add("paired", ce, n, 3000, dtype="float64", seeds=24)
    for learning_rate in (0.001, 0.003, 0.01, 0.03):
        for loss in (ce, flat):
            add("SGD", loss, 8, 1500, optimizer="SGD", learning_rate=learning_rate)
    return rows


def quick_cells() -> list[dict]:
    """The first row of every kind, with two seeds and a few steps."""
    kinds = {}
    for row in cells():
        kinds.setdefault((row["section"], row["score_dtype"]), row)
    return [row | {"seeds": 2, "steps": 12} for row in kinds.values()]


def arguments(settings: dict) -> dict:
    """What train_encoders is called with: types for their names, a list for the number of seeds."""
    types = {key: settings[key] and getattr(torch, settings[key]) for key in ("dtype", "score_dtype")}
    given = {key: value for key, value in settings.items() if key not in ("section", "judged_at")}
    return given | types | {"seeds": range(settings["seeds"])}


def first_losses(settings: dict, images: torch.Tensor) -> list[float]:
    changes = {"seeds": [0], "steps": FIRST_STEPS, "dtype": torch.float64, "score_dtype": None}
    run = train_encoders(images, **arguments(settings) | changes)
    return [float(f"{loss:.10g}") for loss in run.losses[:, 0].tolist()]


def train(settings: dict, data: tuple) -> dict:
    """One row: the settings and what came out."""
    start = time.perf_counter()
    run = train_encoders(data[0], **arguments(settings))
    row = {"settings": settings}
    row |= judged(run.encoders, data, settings.get("judged_at", METRIC["strength"]))
    log10_xi = run.log10_xi.double().numpy()
    row["log10_xi"] = np.quantile(log10_xi, QUANTILES).round(3).tolist()
    row["below_2^-24"] = round(float((log10_xi < np.log10(2.0**-24)).mean()), 5)
    row["first_losses"] = first_losses(settings, data[0])
    return row | {"seconds": round(time.perf_counter() - start, 2)}


def judged(encoders: object, data: tuple, strength: float) -> dict:
    accuracies = encoder_accuracies(encoders, *data, strength=strength, copies=METRIC["copies"], seed=METRIC["seed"])
    return {name: values.round(4).tolist() for name, values in accuracies.items()}


def baselines(data: tuple) -> dict:
    """Accuracies of the raw pixels and of the encoders before training, also on the milder distortions."""
    pixels = SimpleNamespace(h=lambda images: images[None])
    untrained = train_encoders(data[0], "exact", 2, 0, range(DEFAULTS["seeds"])).encoders
    names = {"raw pixels": pixels, "untrained": untrained}
    return {name: judged(h, data, METRIC["strength"]) for name, h in names.items()} | {
        f"{name}, mild": judged(h, data, MILD) for name, h in names.items()
    }


def main(given: list[str] | None = None) -> None:
    out, quick = command_line("contrastive_sweep", __doc__, given)
    data = digits_split(*load_digits(return_X_y=True))
    common = {
        "data": "digits of scikit-learn over 16; 1297 to train, 500 to test, stratified, random_state 0",
        "metric": METRIC,
        "quantiles": QUANTILES,
        "baselines": baselines(data),
        "threads": torch.get_num_threads(),
    }
    fill(out, quick_cells() if quick else cells(), lambda settings: train(settings, data), common)


if __name__ == "__main__":
    main()
