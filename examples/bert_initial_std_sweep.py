"""Train every row of the table behind the BERT initialisation experiments, helpers/stored/bert_initial_std_sweep.json.

    OMP_NUM_THREADS=1 python examples/bert_initial_std_sweep.py            # about nine minutes on one core
    python examples/bert_initial_std_sweep.py --quick --out /tmp/try.json  # one row of every kind, a few steps

Results are written after every row, and rows that the file already holds are not trained again. Seed k is the seed of
weights and data alike: rows that differ in the learning rate alone start from the same weights and see the same text.
"""

import math
import time

import numpy as np
import torch

from helpers import residual as rs
from helpers.initialization import truncated_normal_variance
from helpers.lab.stored import command_line, fill

WIDTH, HEADS, BATCH = 64, 4, 32
BERT = 0.02 * math.sqrt(768 * truncated_normal_variance())  # BERT-base's real standard deviation times the root of 768
GROUP = 5  # steps whose losses are averaged before they are stored
SNR_STEPS, SNR_BATCHES = (20, 60, 100, 160), 8
FIRST_STEPS = 5  # whose losses, in float64 and for seed 0, tell whether a stored row is still what the code does
MODEL = {"placement": "post", "n_layers": 8, "ratio": round(BERT, 6), "vocab": 16, "length": 8, "head": True}
TRAINING = {"lr": 2e-3, "warmup": 100, "steps": 200, "seeds": 5}
# Mean gain of each Norm of a pretrained protein model, package antiberty 0.1.3 (J. Ruffolo et al., arXiv:2112.07782,
# MIT licence): 8 Post-Norm layers of width 512, initializer_range 0.02, Dense + Norm in front of the softmax.
PRETRAINED = {
    "embedding": 0.8737,
    "attention": [1.0005, 0.9966, 0.9983, 1.0014, 1.0003, 1.0048, 1.0029, 0.9922],
    "feed-forward": [0.9267, 0.9503, 0.9666, 0.9756, 0.9920, 1.0003, 0.9517, 0.9574],
    "head": 1.6686,
}


def cells() -> list[dict]:
    """Settings of every row, in the order in which they are trained."""
    rows = []

    def add(section: str, **others: object) -> None:
        rows.append({"section": section} | MODEL | TRAINING | others)

    for placement in ("post", "pre"):
        for warmup in (0, 100):
            add("warm-up", placement=placement, warmup=warmup)
    for ratio in (0.1, 0.25, MODEL["ratio"], 0.7, 1.0):
        add("std", ratio=ratio, n_layers=12, lr=1e-3, steps=250, seeds=3)
    add("eight layers", ratio=0.7)
    for head in (False, True):
        add("head", head=head, n_layers=4, vocab=64, length=16, warmup=80, steps=500, seeds=3)
    for ratio in (MODEL["ratio"], 1.0):
        rows.append({"section": "BERT-base", "ratio": ratio, "n_layers": 12, "width": 768, "heads": 12, "tokens": 64})
    for placement in ("post", "pre"):
        for warmup in (0, 100):
            add("small steps", placement=placement, lr=5e-4, warmup=warmup, steps=400, seeds=3)
    return rows


def quick_cells() -> list[dict]:
    """The first row of every kind, with fewer seeds, steps and layers."""
    kinds = {}
    for row in cells():
        kinds.setdefault(row["section"], row)
    return [
        row | ({"steps": 25, "seeds": 2} if "steps" in row else {"n_layers": 2, "width": 48, "tokens": 8})
        for row in kinds.values()
    ]


def new_model(settings: dict, seed: int, dtype: torch.dtype = torch.float32) -> rs.MaskedLanguageModel:
    """The model of a row: width 64, the ratio being that of its standard deviation to 1/8."""
    s = settings
    return rs.MaskedLanguageModel(
        s["vocab"], s["length"], s["n_layers"], WIDTH, HEADS, 4 * WIDTH, s["placement"], s["ratio"] / WIDTH**0.5,
        head=s["head"], generator=torch.Generator().manual_seed(seed), dtype=dtype,
    )  # fmt: skip


def run(settings: dict, seed: int, model: rs.MaskedLanguageModel, probe=None, **others: object) -> dict:
    s = {key: settings[key] for key in ("steps", "lr", "length")} | others
    chain = rs.PermutationChain(settings["vocab"])
    return rs.train_mlm(model, chain, warmup_steps=settings["warmup"], batch=BATCH, seed=seed, probe=probe, **s)


def make_probe(settings: dict):
    """Called before each step: what is measured along the way, on texts that are never trained on."""
    chain, rng = rs.PermutationChain(settings["vocab"]), np.random.default_rng(1000)
    fresh = lambda: rs.mask_tokens(  # noqa: E731
        chain.sample(BATCH, settings["length"], rng), 0.15, settings["vocab"], rng
    )
    batches = [fresh() for _ in range(SNR_BATCHES)]

    def probe(model: rs.MaskedLanguageModel, step: int) -> dict | None:
        if step % GROUP:
            return None
        with torch.no_grad():
            cosine = float(rs.token_cosine(model.hidden(batches[0][0])).mean())
        wanted = settings["section"] == "warm-up" and step in SNR_STEPS
        ratios = rs.gradient_snr(model, batches) if wanted else []
        gains = rs.layer_norm_gains(model) if settings["section"] == "head" else {}
        return {"cosine": cosine, "snr": list(ratios), "gains": gains, "embedding": spread(model)}

    return probe


def spread(model: rs.MaskedLanguageModel) -> float:
    return float(model.tokens.weight.detach().std())


def first_losses(settings: dict) -> list[float]:
    model = new_model(settings, 0, torch.float64)
    return [float(f"{loss:.10g}") for loss in run(settings, 0, model, steps=FIRST_STEPS)["loss"]]


def rounded(values: object, digits: int = 3) -> list:
    return np.round(np.asarray(values, dtype=float), digits).tolist()


def train(settings: dict) -> dict:
    """One row: the settings and what came out, one entry per seed."""
    start = time.process_time()
    if settings["section"] == "BERT-base":
        return {"settings": settings} | tower(settings) | {"seconds": round(time.process_time() - start, 2)}
    row = {"settings": settings, "finite": 0, "loss": [], "final": [], "cosine": [], "snr": [], "embedding": []}
    gains = []
    for seed in range(settings["seeds"]):
        model = new_model(settings, seed)
        try:
            found = run(settings, seed, model, make_probe(settings))
        except FloatingPointError:
            continue
        trace = found["trace"]
        row["finite"] += 1
        row["loss"].append(rounded(found["loss"].reshape(-1, GROUP).mean(axis=1)))
        row["final"].append(round(float(found["loss"][-20:].mean()), 3))
        row["cosine"].append(rounded(trace["cosine"]))
        row["snr"].append([rounded(ratios, 4) for ratios in trace["snr"] if ratios])
        row["embedding"].append(rounded([trace["embedding"][0], spread(model)], 5))
        if settings["section"] == "head":
            every = [*trace["gains"][::10], rs.layer_norm_gains(model)]  # every 50 steps, and the end
            row["names"] = list(every[0])
            gains.append([rounded(list(one.values())) for one in every])
    row |= {"gains": gains} if gains else {}
    row["first_losses"] = first_losses(settings)
    return row | {"seconds": round(time.process_time() - start, 2)}


def tower(settings: dict) -> dict:
    """A Post-Norm tower at initialisation, all its states and two gradients."""
    d, n = settings["width"], settings["tokens"]
    generator = torch.Generator().manual_seed(0)
    model = rs.ResidualTower(
        2 * settings["n_layers"], d, "post", init_std=settings["ratio"] / d**0.5, n_heads=settings["heads"],
        generator=generator,
    )  # fmt: skip
    x, cotangent = torch.randn(2, 1, n, d, generator=generator)
    trace = rs.trace_signal(model, x, cotangent)
    apart = rs.trace_signal(model, x, cotangent - cotangent.mean(dim=1, keepdim=True))
    found = {name: rounded(values, 5) for name, values in trace.items()}
    return found | {"gradient_zero_sum": rounded(apart["gradient_norm"], 5)}


def main(given: list[str] | None = None) -> None:
    out, quick = command_line("bert_initial_std_sweep", __doc__, given)
    common = {
        "model": {"width": WIDTH, "heads": HEADS, "batch": BATCH},
        "group": GROUP,
        "snr_steps": SNR_STEPS,
        "pretrained": PRETRAINED,
        "threads": torch.get_num_threads(),
    }
    fill(out, quick_cells() if quick else cells(), train, common)


if __name__ == "__main__":
    main()
