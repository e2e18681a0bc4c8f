"""The Chinese pages say the same as the notebooks: sections, numbers, formulas, links, verdict, terms."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import collection as see
from tests.collection import LESSONS
from tools.notebooks import ROOT

PAGES = ROOT / "course" / "zh"
SECTIONS = {"一分钟": "In one minute", "要点": "Key ideas"}
VERDICTS = {"reproduced": "成立", "partly": "部分成立", "not reproduced": "不成立"}
MATHS = re.compile(r"\$[^$]+\$")
CODE = re.compile(r"`[^`]+`")
DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
LINK = re.compile(r"\]\(([^)]+)\)")


def page_of(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Front matter, and the text of each section of level 2."""
    text = (PAGES / f"{path.stem}.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    parts = re.split(r"(?m)^## (.+)\n", body)
    assert not parts[0].strip(), f"{path.stem}: text before the first section"
    return yaml.safe_load(front), dict(zip(parts[1::2], parts[2::2], strict=True))


def told(text: str) -> dict[str, Counter]:
    """How often a text has each formula, piece of code, number outside them, link and block quote."""
    plain = CODE.sub(" ", MATHS.sub(" ", LINK.sub("]", text)))
    quotes = [block for block in re.split(r"\n\s*\n", text.strip()) if block.startswith(">")]
    return {
        "formulas": Counter(MATHS.findall(text)),
        "code": Counter(CODE.findall(text)),
        "numbers": Counter(DIGITS.findall(plain)),
        "links": Counter(LINK.findall(text)),
        "quotes": Counter(quotes=len(quotes)),
    }


def glossary(text: str) -> list[list[str]]:
    """Rows of the table of terms, without its two lines of heading."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.strip().splitlines()]
    assert rows[0] == ["English", "中文", "说明"]
    return rows[2:]


def test_every_lesson_has_its_page_and_no_page_is_left_over():
    assert {page.stem for page in PAGES.glob("*.md")} == {path.stem for path in LESSONS}


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_page_has_the_sections_and_a_title_that_asks(path):
    front, sections = page_of(path)
    assert list(sections) == [*SECTIONS, "术语"]
    assert front["notebook"] == path.stem
    assert front["title"].endswith("？")
    assert see.CJK.search(front["title"])


@pytest.mark.parametrize("chinese", SECTIONS)
@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_section_tells_the_same(path, chinese):
    _, sections = page_of(path)
    here, there = told(sections[chinese]), told(see.section(see.read(path), SECTIONS[chinese]))
    differing = {
        kind: f"Chinese only: {dict(here[kind] - there[kind])}, English only: {dict(there[kind] - here[kind])}"
        for kind in here
        if here[kind] != there[kind]
    }
    assert not differing, f"course/zh/{path.stem}.md, {chinese}: {differing}"


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_verdict_is_the_computed_one(path):
    _, sections = page_of(path)
    said, _ = see.verdict(see.read(path))
    assert f"**结论**：**{VERDICTS[said]}**" in sections["一分钟"]


@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_terms_are_the_notebooks_and_explained_once(path):
    _, sections = page_of(path)
    rows = glossary(sections["术语"])
    assert len(rows) >= 8
    assert all(len(row) == 3 and all(row) for row in rows)
    assert len({english for english, *_ in rows}) == len({chinese for _, chinese, _ in rows}) == len(rows)
    notebook = re.sub(r"[*`]", "", "\n".join(text for _, text in see.markdown(see.read(path)))).lower()
    missing = [english for english, *_ in rows if english.lower() not in notebook]
    assert not missing, f"course/zh/{path.stem}.md: terms that the notebook does not use: {missing}"


def test_the_comparison_notices_a_changed_number_formula_code_link_and_quote():
    text = "In 3 of 4, $x = 2$ and `f(1)` hold, see [a](b.md).\n\n> A quote."
    changes = [("3 of", "5 of"), ("x = 2", "x = 1"), ("f(1)", "f(2)"), ("b.md", "c.md"), ("> A", "A")]
    for old, new in changes:
        assert told(text.replace(old, new)) != told(text), old
    assert told(text.replace("hold, see", "gilt, siehe")) == told(text)
