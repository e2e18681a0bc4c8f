"""Documents: what the extraction makes of an apt index written by hand, and the shipped sample."""

import json

import pytest

from helpers import nsp_documents as docs
from tests.example_scripts import load

PACKAGES = """\
Package: aliens
Source: aliens-src (1.0)
Section: games
Description: Shoot them
Description-md5: a1

Package: aliens-data
Source: aliens-src
Section: games
Description-md5: a2

Package: libaliens
Section: contrib/libs
Description-md5: a3

Package: old-aliens
Section: games
Description-md5: a4

Package: unknown
Section: games
Description-md5: a5
"""
TRANSLATIONS = """\
Package: aliens
Description-md5: a1
Description-en: Shoot them
 Kill all the evil aliens that come down. You have e.g. three
 lives! Write to someone@example.org if you like it.
 .
 The features of it are:
  * this is one of them
    and this its second line
 behind the list there stands this.
 .
 This package contains the game.

Package: aliens-data
Description-md5: a2
Description-en: Shoot them (data)
 Pictures of the evil aliens.

Package: libaliens
Description-md5: a3
Description-en: Library of aliens
 Kill all the evil aliens that come down.
 It can do so much more.

Package: old-aliens
Description-md5: a4
Description-en: transitional package
 A long enough description that is never read by anyone.
"""


@pytest.fixture(scope="module")
def script():
    return load("debian_descriptions")


@pytest.fixture(scope="module")
def corpus(script):
    packages, texts = (list(script.stanzas(text.splitlines())) for text in (PACKAGES, TRANSLATIONS))
    return script.documents(packages, texts)


class TestExtraction:
    def test_stanzas_are_fields_with_their_continuation(self, script):
        found = list(script.stanzas(["A: 1", "B: x: y", "  z", "", "", "A: 2"]))
        assert found == [{"A": "1", "B": "x: y\n  z"}, {"A": "2"}]

    def test_one_document_per_source_with_its_running_text(self, corpus):
        assert [{name: value for name, value in one.items() if name != "part"} for one in corpus] == [
            {
                "source": "aliens-src", "package": "aliens", "section": "games", "synopsis": "Shoot them",
                "sentences": ["Kill all the evil aliens that come down.", "You have e.g. three lives!"],
            },
            {
                "source": "libaliens", "package": "libaliens", "section": "libs", "synopsis": "Library of aliens",
                "sentences": ["Kill all the evil aliens that come down.", "It can do so much more."],
            },
        ]  # fmt: skip

    def test_sources_that_share_a_sentence_are_one_family(self, script):
        shared = [["one.", "two."], ["three."], ["two.", "four."], ["Four", "five."], ["six."]]
        documents = [{"source": name, "sentences": found} for name, found in zip("bacde", shared, strict=True)]
        documents = sorted(documents, key=lambda document: document["source"])
        assert dict(zip("abcde", script.families(documents), strict=True)) == {
            "a": "a", "b": "b", "c": "b", "d": "b", "e": "e",
        }  # fmt: skip

    def test_boilerplate_of_many_documents_goes(self, script):
        def index(n):
            packages = [{"Package": f"p{k}", "Section": "libs", "Description-md5": "m"} for k in range(n)]
            text = "Description of p{}\n All of them say this here.\n Only number {} says this one."
            texts = [
                {"Package": f"p{k}", "Description-md5": "m", "Description-en": text.format(k, k)} for k in range(n)
            ]
            return script.documents(packages, texts)

        assert all(len(document["sentences"]) == 2 for document in index(script.SHARED))
        assert all(len(document["sentences"]) == 1 for document in index(script.SHARED + 1))

    def test_parts_follow_the_family_and_the_section(self, script):
        names = [f"name{k}" for k in range(4000)]
        for section, expected in (("games", {"dev": 0.1, "test": 0.3}), ("libs", {"dev": 0.03, "test": 0.0})):
            parts = [script.part(name, section) for name in names]
            for part, share in expected.items():
                assert parts.count(part) / 4000 == pytest.approx(share, abs=0.02)
        assert 0 <= min(map(script.percent, names)) < max(map(script.percent, names)) < 100

    @pytest.mark.parametrize(
        "sentence",
        [
            "Too short.", "word " * 61 + ".", "See http://example.org for the rest of it.", "These are its features:",
            "x = 3 + 4 * (5 - 6) / 7 = 8 % 9 ;)", "See also the other one.", "The dummy package does nothing at all.",
        ],
    )  # fmt: skip
    def test_what_is_no_prose(self, script, sentence):
        assert not script.is_prose(sentence)

    def test_the_sample_is_short_and_held_out(self, script):
        def document(k, part):
            return {
                "source": f"s{k}", "package": f"s{k}", "section": "games", "synopsis": "s", "part": part,
                "sentences": ["x" * 300, "y" * 99, "z" * 2, "never"],
            }  # fmt: skip

        corpus = [document(k, ("train", "dev", "test")[k % 3]) for k in range(300)]
        rows = script.sample(corpus)["documents"]
        parts = [row["part"] for row in rows]
        assert (parts.count("test"), parts.count("dev"), parts.count("train")) == (40, 16, 0)
        assert all(row["sentences"] == ["x" * 300, "y" * 99, "z" * 2] for row in rows)
        assert rows == script.sample(corpus[::-1])["documents"]


class TestShipped:
    def test_every_document_is_whole_and_says_where_it_is_from(self):
        for part, most, least in (("test", 40, 15), ("dev", 16, 5)):
            found = docs.held_out(part)
            assert all(set(document) == set(docs.FIELDS) and document["part"] == part for document in found)
            assert all(all(document.values()) for document in found)
            sections = [document["section"] for document in found]
            assert list(dict.fromkeys(sections)) == list(docs.section_labels())
            assert all(least <= sections.count(section) <= most for section in docs.section_labels())

    def test_parts_are_apart(self, script):
        test, dev = docs.held_out("test"), docs.held_out("dev")
        assert not {d["source"] for d in test} & {d["source"] for d in dev}
        keys = [{script.key(s) for d in part for s in d["sentences"]} for part in (test, dev)]
        assert not keys[0] & keys[1]

    def test_file_is_small_and_states_the_licence(self):
        text = (docs.SHIPPED / "held_out.json").read_text(encoding="utf-8")
        assert len(text.encode()) <= 400_000
        assert "licence of its package's packaging" in json.loads(text)["licence"]

    def test_label_sets_are_nested(self, script):
        assert docs.section_labels() == script.LABELS
        assert list(docs.section_labels(8).items())[:4] == list(docs.section_labels(4).items())
        assert [len(docs.section_labels(n)) for n in (4, 8, 12)] == [4, 8, 12]

    def test_bad_inputs_are_refused(self):
        with pytest.raises(ValueError, match=r"^part must be one of \('dev', 'test'\), got 'train'$"):
            docs.held_out("train")
        with pytest.raises(ValueError, match=r"^n must be 4, 8 or 12, got 5$"):
            docs.section_labels(5)


class TestCorpus:
    def test_documents_come_back_by_part(self, tmp_path):
        rows = [{**docs.held_out("dev")[0], "part": part} for part in ("test", "train", "dev", "train")]
        file = tmp_path / "corpus.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        found = docs.read_corpus(file)
        assert list(found) == ["train", "dev", "test"]
        assert found["train"] == [rows[1], rows[3]]

    def test_bad_files_are_refused(self, tmp_path):
        file, row = tmp_path / "corpus.jsonl", docs.held_out("dev")[0]
        for bad in (row | {"more": 1}, row | {"part": "validation"}, row | {"sentences": []}):
            file.write_text(json.dumps(row) + "\n" + json.dumps(bad), encoding="utf-8")
            with pytest.raises(ValueError, match=r"corpus.jsonl must hold documents with the fields .*, line 2 is '{"):
                docs.read_corpus(file)
        file.write_text(json.dumps(row), encoding="utf-8")
        with pytest.raises(ValueError, match=r"must hold documents of every part, got none of \['train', 'test'\]$"):
            docs.read_corpus(str(file))
