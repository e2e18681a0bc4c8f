"""Pictures of notebook 05: what they draw is what the maths, the model or the stored tables say."""

import re

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from helpers import nsp
from helpers.figures import nsp_zero_shot as figures
from helpers.figures import nsp_zero_shot_bench as nsp_bench
from helpers.lab import Stored, style
from helpers.lab.figures import blank
from helpers.nsp_documents import held_out


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def furniture(figure):
    """What stays on a picture while it moves: words, ranges, ticks and looks, one line per panel."""
    said = [f"height {figure.get_figheight():.1f}"]
    said += ["legend: " + ", ".join(text.get_text() for text in legend.get_texts()) for legend in figure.legends]
    for axes in figure.axes:
        ranges = [f"{low:g} to {high:g}" for low, high in (axes.get_xlim(), axes.get_ylim())]
        ticks = [" ".join(tick.get_text() for tick in axis.get_ticklabels()) for axis in (axes.xaxis, axes.yaxis)]
        words = [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *ranges, axes.get_xscale()]
        words += [] if axes.get_xscale() == "log" else ticks
        words += [text.get_text() for text in (axes.get_legend().get_texts() if axes.get_legend() else [])]
        words += [f"{line.get_color()}{line.get_linestyle()}{line.get_marker()}" for line in axes.lines]
        bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
        bars = [f"bar {to_hex(bar.get_facecolor())} {bar.get_width():g} {bar.get_height():g}" for bar in bars]
        lines = [mark for mark in axes.collections if isinstance(mark, LineCollection)]
        words += dict.fromkeys(
            [*bars, *(f"{to_hex(each.get_color()[0])} {each.get_linewidth()[0]:g}" for each in lines)]
        )
        said.append(" | ".join(words).replace("\n", "_"))
    return said


FURNITURE = {
    "TopicToy": [
        "height 3.9",
        "random negatives (NSP) | second sentence b | first sentence a, by topic | -0.5 to 11.5 | 11.5 to -0."
        "5 | linear | topic 1 topic 2 topic 3 | 1 2 3",
        "same-topic negatives | second sentence b |  | -0.5 to 11.5 | 11.5 to -0.5 | linear | topic 1 topic 2"
        " topic 3 |   ",
        "swapped order (SOP) | second sentence b |  | -0.5 to 11.5 | 11.5 to -0.5 | linear | topic 1 topic 2 "
        "topic 3 |   ",
        "as a classifier |  | share of texts right | -0.43 to 2.43 | 0 to 1.12 | linear | NSP same_topic SOP "
        "| 0.0 0.2 0.4 0.6 0.8 1.0 1.2 | chance | #000000:None | bar #0072b2 0.6 0",
        " | best score s*(a, b) |  | -2.5 to 2.5 | 0 to 1 | linear | −3 −2 −1 0 1 2 3 |  | #000000 0.4",
    ],
    "Bench": [
        "height 5.6",
        "next sentence: s, and σ(s) | score s - β |  | -28.8 to 24 | 9.6 to -0.6 | linear "
        "| −10 −5 0 5 10 |  | #000000-None | bar #56b4e9 0 0.72",
        "masked word (PET), and p | log p - β, minus its mean |  | -28.8 to 24 | 9.6 to -0.6 | linear"
        " | −10 −5 0 5 10 |  | #000000-None | bar #56b4e9 0 0.72",
        "what each word adds to the winner's score |  | loss of s without it | 0 to 1 | -1 to 1 | linear |  | −1.0 −0."
        "5 0.0 0.5 1.0 | #000000-None | bar #0072b2 0.8 0",
    ],
    "Templates": [
        "height 5.3",
        "legend: 95 % interval, accuracy, this prompt, chance",
        "how often each label wins |  | share given | -0.5 to 7.5 | 0 to 0.8 | linear |  | 0.0 0.5 1.0 | true"
        " share | #000000:None | bar #0072b2 0.7 0",
        " |  | 20 texts of each section | -0.5 to 7.5 | 159.5 to -0.5 | linear | game music font science mail"
        " mathematics editor web | game music font science mail mathematics editor web | #000000-None | #0000"
        "00-None | #000000-None | #000000-None | #000000-None | #000000-None | #000000-None",
        "all prompts | accuracy, eight labels |  | 0 to 1 | 7.5 to -0.5 | linear | 0.0 0.2 0.4 0.6 0.8 1.0 | "
        '"{}" "a {} program" "a {} package" "software for {}" "this is about {}" "this program belongs to {}"'
        ' "category: {}" "{} tools and libraries" | #0072B2Noneo | #D55E00Nonev | #000000:None | #56b4e9 5',
        " | s - β |  | 0 to 1 | -7 to 7 | linear |  | −8 −6 −4 −2 0 2 4 6 8 | #000000 0.4",
    ],
    "PretrainingSteps": [
        "height 4.2",
        "legend: shipped model (NSP), NSP, short runs, same-topic negatives, short runs, SOP, short runs, snap"
        "shot, chance, on the right",
        "each on its own task | steps of pre-training | pairs judged right | 90 to 14400 | 0.4 to 1 | log | #"
        "000000-. | #0072B2-o | #009E73-.^ | #D55E00--v | #7F7F7F:None",
        "as a zero-shot classifier | steps of pre-training | accuracy, eight labels | 90 to 14400 | 0 to 0.85"
        " | log | #000000-. | #0072B2-o | #009E73-.^ | #D55E00--v | #7F7F7F:None | #7F7F7F-None",
    ],
    "Summary": [
        "height 3.9",
        "legend: 95 % interval, chance, NSP, same-topic negatives, SOP",
        "shipped model and baselines | accuracy |  | 0 to 1 | 7.5 to -0.5 | linear | 0.0 0.2 0.4 0.6 0.8 1.0 "
        "| TF-IDF LSA masked word (PET) PET calibrated PET calibrated (bare label) next sentence (NSP) NSP ca"
        "librated 16 examples a label | #000000:None | bar #56b4e9 0 0.65 | bar #0072b2 0 0.65 | #000000 1.5",
        "three tasks, three seeds | pairs of the own task judged right | accuracy, zero-shot | 0.45 to 1 | 0 "
        "to 0.8 | linear | 0.4 0.5 0.6 0.7 0.8 0.9 1.0 | 0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 | #0072B2Noneo |"
        " #009E73None^ | #D55E00Nonev | #000000:None",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FURNITURE)
def test_furniture(name):
    figure = blank()
    getattr(figures, name)(figure)
    figure.canvas.draw()
    assert furniture(figure) == FURNITURE[name]


@pytest.fixture(scope="module")
def toy():
    return figures.TopicToy(blank())


class TestTopicToy:
    def accuracies(self, caption):
        return [float(number) for number in re.findall(r"\d\.\d\d", caption.partition("topic: ")[2])]

    @pytest.mark.parametrize(("overlap", "continuity"), [(0.1, 0.3), (0.5, 0.8)])
    def test_maps_are_log_ratios(self, toy, overlap, continuity):
        toy.update(overlap, continuity)
        own = np.kron(np.eye(3), np.ones((1, 4))) / 4
        given = (1 - overlap) * own + overlap / 12
        same = sum(np.outer(row, row) for row in given) / 3
        following = np.zeros((12, 12))
        for a in range(12):
            following[a, a // 4 * 4 + (a + 1) % 4] = 1 / 12
        joint = (1 - continuity) * same + continuity * following
        for image, q in zip(toy.images, (np.full((12, 12), 1 / 144), same, joint.T), strict=True):
            assert np.allclose(image.get_array(), np.log(joint / q), atol=1e-9)

    def test_without_continuity_only_nsp_has_anything(self, toy):
        caption = toy.update(0.1, 0.0)
        assert not toy.images[1].get_array().any()
        assert not toy.images[2].get_array().any()
        assert "0 with same-topic negatives, 0 for SOP" in caption
        assert self.accuracies(caption)[1:] == [0.33, 0.33, 0.33]

    @pytest.mark.parametrize("overlap", [0.02, 0.1, 0.5])
    def test_accuracies_in_closed_form(self, toy, overlap):
        own, other = 1 - 2 * overlap / 3, overlap / 3  # p(topic | text)
        right = [own, (own + 2 / 3) / 3, (own + 1 / 3 + other) / 3]
        assert [bar.get_height() for bar in toy.bars] != right
        caption = toy.update(overlap, 0.3)
        assert [bar.get_height() for bar in toy.bars] == pytest.approx(right)
        assert self.accuracies(caption) == pytest.approx([*right, 1 / 3], abs=0.0051)
        assert [note.get_text() for note in toy.notes] == [f"{share:.2f}" for share in right]
        assert [note.get_position()[1] for note in toy.notes] == pytest.approx([share + 0.01 for share in right])

    def test_topics_that_are_all_the_same(self, toy):
        caption = toy.update(1.0, 0.0)
        assert caption.startswith("Overlap 1, continuity 0: largest |s*| is 0 for NSP, 0 with")
        assert self.accuracies(caption) == [0.33] * 4


@pytest.fixture(scope="module")
def bench():
    return figures.Bench(blank())


class TestBench:
    def draw(self, bench, **values):
        default = {"example": -1, "text": "play the song", "labels": "game, music, font", "template": "{}"}
        return bench.update(**(default | {"order": "prefix", "calibration": "none"} | values))

    def shown(self, bars):
        used = [k for k, name in enumerate(bars.names) if name.get_text()]
        return [bars.names[k].get_text() for k in used], [bars.bars[k].get_width() for k in used]

    def first_words(self, bench, n):
        return list(zip(bench.words.bars, bench.words.tokens, strict=True))[:n]

    @pytest.mark.parametrize(("template", "order"), [("{}", "prefix"), ("a {} package", "suffix")])
    def test_bars_are_the_scores(self, bench, template, order):
        caption = self.draw(bench, template=template, order=order)
        labels = ["game", "music", "font"]
        prompts = nsp.fill_template(template, labels)
        s = nsp.nsp_scores(bench.model, bench.tokenizer, ["play the song"], prompts, order)[0]
        names, widths = self.shown(bench.nsp)
        assert names == labels
        assert widths == pytest.approx(s.tolist(), abs=1e-5)
        assert [note.get_text() for note in bench.nsp.notes[:4]] == [f"{p:.2f}" for p in 1 / (1 + np.exp(-s))] + [""]
        order_ = np.argsort(-s)
        assert caption.startswith(f"NSP says {labels[order_[0]]} (s = {s.max():.1f}), ahead of {labels[order_[1]]} by ")
        assert numbers(caption)[1] == pytest.approx(s[order_[0]] - s[order_[1]], abs=0.051)
        log_p = nsp.mlm_label_scores(bench.model, bench.tokenizer, ["play the song"], labels, template, order)[0]
        assert self.shown(bench.pet)[1] == pytest.approx((log_p - log_p.mean()).tolist(), abs=1e-5)
        assert bench.pet.notes[0].get_text() == f"{np.exp(log_p[0]):.1g}"
        assert f"the masked word says {labels[int(log_p.argmax())]}." in caption

    def test_the_best_label_stands_out(self, bench):
        self.draw(bench)
        widths = [bar.get_width() for bar in bench.nsp.bars[:3]]
        dark = [bar.get_facecolor()[:3] == pytest.approx((0, 114 / 255, 178 / 255), abs=0.01) for bar in bench.nsp.bars]
        assert dark == [k == int(np.argmax(widths)) for k in range(bench.MOST_LABELS)]
        assert [name.get_fontweight() == "bold" for name in bench.nsp.names] == dark
        assert [bar.get_visible() for bar in bench.nsp.bars] == [True] * 3 + [False] * (bench.MOST_LABELS - 3)

    @pytest.mark.parametrize("calibration", ["mean", "neutral"])
    def test_calibration_is_taken_off(self, bench, calibration):
        labels = ["game", "music"]
        texts = bench.reference if calibration == "mean" else ["..."]
        caption = self.draw(bench, labels="game, music", calibration=calibration)
        s, bias = (
            nsp.nsp_scores(bench.model, bench.tokenizer, given, labels, too_long="cut").mean(axis=0)
            for given in (["play the song"], texts)
        )
        assert self.shown(bench.nsp)[1] == pytest.approx((s - bias).tolist(), abs=1e-4)
        assert f"(s = {s[int((s - bias).argmax())]:.1f} raw)" in caption
        log_p, bias = (
            nsp.mlm_label_scores(bench.model, bench.tokenizer, given, labels, too_long="cut").mean(axis=0)
            for given in (["play the song"], texts)
        )
        centred = log_p - bias - (log_p - bias).mean()
        assert self.shown(bench.pet)[1] == pytest.approx(centred.tolist(), abs=1e-4)
        assert self.shown(bench.pet)[1] != pytest.approx((log_p - log_p.mean()).tolist(), abs=1e-3)

    def test_biases_are_measured_once_a_prompt(self, bench, monkeypatch):
        self.draw(bench, labels="mail, web", calibration="mean", template="this is about {}")
        before = dict(bench.known)
        monkeypatch.setattr(nsp, "calibration_bias", lambda scores: pytest.fail("measured again"))
        self.draw(bench, labels="web, mail", calibration="mean", template="this is about {}", text="a letter")
        assert bench.known == before
        assert ("nsp", "this is about {}", "prefix", "mean", "mail") in before

    def test_reference_texts_are_of_all_sections(self, bench):
        sections = {" ".join(d["sentences"]): d["section"] for d in held_out("dev")}
        assert len(bench.reference) == bench.N_REFERENCE
        assert len({sections[text] for text in bench.reference}) == 12

    def test_a_label_of_several_tokens_has_no_mask(self, bench):
        caption = self.draw(bench, labels="board game, music")
        assert bench.pet.notes[0].get_text() == "not one token"
        assert self.shown(bench.pet)[1][0] == 0
        assert "the masked word says music." in caption
        assert bench.pet.names[1].get_fontweight() == "bold"
        caption = self.draw(bench, labels="board game, card game")
        assert "the masked word says nothing, since no label is one token." in caption
        assert {name.get_fontweight() for name in bench.pet.names} == {"normal"}

    def test_words_are_what_the_winner_loses(self, bench):
        caption = self.draw(bench)
        winner = bench.nsp.names[int(np.argmax([bar.get_width() for bar in bench.nsp.bars[:3]]))].get_text()
        tokens, deltas = nsp.occlusion(bench.model, bench.tokenizer, "play the song", winner, "prefix")
        assert [text.get_text() for text in bench.words.tokens[:4]] == [*tokens, ""]
        assert [bar.get_height() for bar in bench.words.bars[:3]] == pytest.approx(deltas.tolist(), abs=1e-6)
        assert not any(bar.get_visible() for bar in bench.words.bars[3:])
        assert f"Speaks most for it: {tokens[int(deltas.argmax())]}." in caption
        for token, delta in zip(bench.words.tokens, deltas, strict=False):
            assert token.get_position()[1] * delta < 0
            assert token.get_verticalalignment() == ("top" if delta > 0 else "bottom")
        places = [(bar.get_x(), bar.get_width(), token.get_position()[0]) for bar, token in self.first_words(bench, 2)]
        assert places == [pytest.approx((0.1 / 24, 0.8 / 24, 0.5 / 24)), pytest.approx((1.1 / 24, 0.8 / 24, 1.5 / 24))]

    def test_no_word_may_speak_for_the_winner(self):
        assert nsp_bench._spokesman(["a", "b"], np.array([-0.1, 0.0])) == "No token alone speaks for it."
        assert nsp_bench._spokesman(["a", "b"], np.array([-0.1, 0.01])) == "Speaks most for it: b."

    def test_an_example_replaces_the_text(self, bench):
        examples = bench.examples()
        assert next(iter(examples.items())) == (bench.OWN, -1)
        assert len(examples) == 9
        documents = held_out("test")
        for name, k in list(examples.items())[1:]:
            assert name == f"{documents[k]['section']}: first held-out text"
            assert k == 0 or documents[k - 1]["section"] != documents[k]["section"]
        caption = self.draw(bench, example=examples["mail: first held-out text"], text="play the song")
        text = " ".join(documents[examples["mail: first held-out text"]]["sentences"])
        s = nsp.nsp_scores(bench.model, bench.tokenizer, [text], ["game", "music", "font"], too_long="cut")[0]
        assert self.shown(bench.nsp)[1] == pytest.approx(s.tolist(), abs=1e-5)
        assert caption.startswith("NSP says ")

    def test_long_and_unknown_texts_are_told(self, bench):
        assert "Only the first 60 of 90 tokens were read." in self.draw(bench, text="game " * 90)
        assert "tokens were read" not in self.draw(bench, text="game " * 60)
        [(bar, token)] = self.first_words(bench, 1)
        assert (bar.get_width(), token.get_position()[0]) == pytest.approx((0.8 / 60, 0.5 / 60))
        assert "100% of the tokens are unknown to the model" in self.draw(bench, text="世界 和平")
        assert "unknown" not in self.draw(bench, text="play 世 games with friends")

    @pytest.mark.parametrize("labels", ["game", "", " , ", ", ".join("abcdefghijk")])
    def test_too_few_or_too_many_labels(self, bench, labels):
        with pytest.raises(ValueError, match=r"labels must be 2 to 10 words with commas between, got (0|1|11)$"):
            self.draw(bench, labels=labels)

    def test_other_bad_input(self, bench):
        with pytest.raises(ValueError, match="labels must be distinct"):
            self.draw(bench, labels="game, Game")
        with pytest.raises(ValueError, match="text must hold at least one word, got an empty one"):
            self.draw(bench, text="  ")
        self.draw(bench, labels=", ".join("abcdefghij"))

    def test_long_bars_end_at_the_frame(self):
        axes = blank().subplots()
        bars = nsp_bench._Bars(axes, 3, "", "")
        bars.show(["a", "b"], np.array([30.0, -30.0]), ["1", "2"])
        assert [bar.get_width() for bar in bars.bars] == [12, -12, 0]

    @pytest.mark.parametrize(("largest", "reach"), [(0.1, 1), (0.96, 2), (1.9, 2), (-7.3, 8), (30, 32)])
    def test_the_words_have_room(self, largest, reach):
        words = nsp_bench._Words(blank().subplots())
        words.show(["a", "b"], np.array([largest, 0.05]))
        assert words.axes.get_ylim() == (-reach, reach)
        assert [bar.get_height() for bar in words.bars[:3]] == [largest, 0.05, 0]
        assert [text.get_position()[1] for text in words.tokens[:2]] == [
            -0.03 * reach * np.sign(largest),
            -0.03 * reach,
        ]


@pytest.fixture(scope="module")
def templates():
    return figures.Templates(blank())


class TestTemplates:
    @pytest.mark.parametrize(
        ("template", "order", "calibration"),
        [("{}", "prefix", "none"), ("category: {}", "suffix", "mean"), ("a {} program", "suffix", "empty")],
    )
    def test_what_is_stored_is_drawn(self, templates, template, order, calibration):
        caption = templates.update(template, order, calibration)
        table = Stored("nsp_evaluation")
        row = table.row(section="scores", template=template, order=order)
        s = np.array(row["scores"]) - (0 if calibration == "none" else np.array(row[calibration]))
        assert np.allclose(templates.image.get_array(), s)
        shares = [np.mean(s.argmax(axis=1) == c) for c in range(8)]
        assert [bar.get_height() for bar in templates.bars] == pytest.approx(shares)
        most = int(np.argmax(shares))
        assert f"{shares[most]:.0%} are called {table.common['labels'][most]}; true share 12.5 %" in caption
        of = {"section": "accuracy", "labels": "D8", "method": "NSP", "order": order, "calibration": calibration}
        rows = [table.row(template=one, **of) for one in nsp.TEMPLATES]
        assert list(templates.dots.get_xdata()) == [one["accuracy"] for one in rows]
        assert [segment[:, 0].tolist() for segment in templates.intervals.get_segments()] == [one["ci"] for one in rows]
        k = nsp.TEMPLATES.index(template)
        assert templates.here.get_xydata().tolist() == [[rows[k]["accuracy"], k]]
        worst, best = (function(one["accuracy"] for one in rows) for function in (min, max))
        low, high = rows[k]["ci"]
        assert caption.startswith(
            f'"{template}": accuracy {rows[k]["accuracy"]:.2f} on {rows[k]["n"]} texts (95 % interval {low:.2f} to '
            f"{high:.2f}; all prompts: {worst:.2f} to {best:.2f})."
        )

    def test_texts_stand_in_the_order_of_the_labels(self, templates):
        documents, stored = held_out("test"), templates.table.row(section="scores", template="{}", order="prefix")
        sections = [documents[k]["section"] for k in stored["documents"]]
        assert sections == [section for section in dict.fromkeys(sections) for _ in range(20)]
        assert templates.each == 20


@pytest.fixture(scope="module")
def pretraining():
    return figures.PretrainingSteps(blank())


class TestPretrainingSteps:
    def test_steps_rise(self):
        steps = figures.PretrainingSteps.steps()
        assert steps[0] > 0
        assert np.all(np.diff(steps) > 0)

    @pytest.mark.parametrize("calibration", ["none", "mean"])
    def test_curves_are_the_stored_means(self, pretraining, calibration):
        pretraining.update(0, calibration)
        table, trained = Stored("nsp_evaluation"), Stored("nsp_pretraining")
        for objective in ("nsp", "same_section", "sop"):
            steps, values = pretraining.lines[objective].get_data()
            rows = table.select(section="steps", run="ablation", objective=objective, step=int(steps[-1]))
            assert len(rows) == 3
            assert values[-1] == pytest.approx(np.mean([row["D8"][calibration] for row in rows]))
            runs = trained.select(section="ablation", objective=objective)
            assert pretraining.own[objective][0][1][-1] == runs[0]["curve"][-1]["pair_accuracy"]
            assert steps[0] > 0
        main = [row for row in table.select(section="steps") if row["settings"]["run"] != "ablation"]
        assert pretraining.lines["main"].get_data()[1][-1] == main[-1]["D8"][calibration]

    def test_caption_and_mark(self, pretraining):
        steps = pretraining.steps()
        k = steps.index(1000)
        caption = pretraining.update(k, "mean")
        assert caption.startswith("After 1,000 steps, pairs of the own task judged right / texts labelled right: ship")
        sop = pretraining.lines["sop"].get_data()
        assert f"SOP (3 seeds) {np.mean([c[1][-1] for c in pretraining.own['sop']]):.2f} / {sop[1][-1]:.2f}" in caption
        assert re.sub(r"\d\.\d\d", "#", caption).endswith(
            "right: shipped model # / #, NSP (3 seeds) # / #, same-topic negatives (3 seeds) # / #, "
            "SOP (3 seeds) # / #."
        )
        assert all(list(line.get_xdata()) == [1000, 1000] for line in pretraining.here)
        last = pretraining.update(len(steps) - 1, "mean")
        assert "SOP" not in last
        own, right = numbers(last.partition("model ")[2])
        assert right == pytest.approx(pretraining.lines["main"].get_data()[1][-1], abs=0.0051)
        assert own == pytest.approx(pretraining.own["main"][0][1][-1], abs=0.0051)


@pytest.fixture(scope="module")
def summary():
    return figures.Summary(blank())


def picture_words(caption):
    """A caption of the summary without its accuracies."""
    return re.sub(r" \d\.\d\d(?=[,;.]( |$))(?<!chance \d\.\d\d)", "", caption)


class TestSummary:
    @pytest.mark.parametrize(("labels", "chance"), [("D4", 1 / 4), ("D8", 1 / 8), ("D12", 1 / 12)])
    def test_bars_and_dots(self, summary, labels, chance):
        caption = summary.update(labels)
        table = Stored("nsp_evaluation")
        plain = {"section": "accuracy", "labels": labels, "method": "NSP", "template": "{}", "order": "prefix"}
        row = table.row(**plain, calibration="mean")
        assert summary.bars[6].get_width() == row["accuracy"]
        assert summary.bars[5].get_width() == table.row(**plain, calibration="none")["accuracy"]
        assert summary.intervals.get_segments()[6].tolist() == [[row["ci"][0], 6], [row["ci"][1], 6]]
        assert picture_words(caption) == (
            f"{labels[1:]} labels, {row['n']} texts, accuracy: TF-IDF, LSA, masked word (PET), PET calibrated, "
            f"PET calibrated (bare label), next sentence (NSP), NSP calibrated, "
            f"{16} examples a label; chance {chance:.2f}. "
            "Right, calibrated, mean of 3 seeds: NSP, same-topic negatives, SOP."
        )
        assert f"NSP calibrated {row['accuracy']:.2f}" in caption
        shots = table.row(section="accuracy", labels=labels, shots=16)["accuracy"]
        assert f"16 examples a label {shots:.2f}" in caption
        bare = table.row(**plain | {"method": "PET"}, calibration="mean")["accuracy"]
        assert summary.bars[4].get_width() == bare
        assert list(summary.chance.get_xdata()) == [chance, chance]
        assert list(summary.chance_too.get_ydata()) == [chance, chance]
        assert f"chance {chance:.2f}." in caption
        rows = table.select(section="steps", run="ablation", objective="sop", last=True)
        values = [row[labels]["mean"] for row in rows]
        assert summary.dots["sop"].get_ydata() == pytest.approx(values)
        assert f"SOP {np.mean(values):.2f}." in caption
        runs = Stored("nsp_pretraining").select(section="ablation", objective="sop")
        assert summary.dots["sop"].get_xdata() == pytest.approx([run["curve"][-1]["pair_accuracy"] for run in runs])

    def test_nsp_has_its_own_colour(self, summary):
        dark = [bar.get_facecolor() for bar in summary.bars]
        assert dark[5] == dark[6] != dark[0] == dark[4]
        assert style.COLORS["blue"] != style.COLORS["sky"]
