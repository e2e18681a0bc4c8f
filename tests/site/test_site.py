"""The site of a small repository: what its files say, and what a reader with a keyboard, a phone or no scripts gets."""

import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from tools.browser import open_page
from tools.mathjax import FONTS, SCRIPT
from tools.site import __main__ as command
from tools.site import source
from tools.site.browser import PHONE, figures, inspect, maths, typeset
from tools.site.check import check
from tools.site.mend import PARTS, mend

pytestmark = pytest.mark.xdist_group("site")  # one build and one browser, whichever way tests are distributed
LESSON = "notebooks/01_small.html"


def text_of(site, name):
    return (site.folder / name).read_text(encoding="utf-8")


# the files


def test_nothing_is_wrong_with_the_pages(site):
    assert site.found == []
    pages = {path.relative_to(site.folder).as_posix() for path in site.folder.rglob("*.html")}
    assert pages >= {"index.html", LESSON, "course/zh/01_small.html", "course/lecturer/01_small.html", "search.html"}


def test_a_lesson_and_its_chinese_page_name_each_other(site):
    english, chinese = text_of(site, LESSON), text_of(site, "course/zh/01_small.html")
    assert re.search(r"<html[^>]* lang=\"en\"", english)
    assert re.search(r"<html[^>]* lang=\"zh-Hans\"", chinese)
    assert '<link rel="alternate" hreflang="zh-Hans" href="../course/zh/01_small.html">' in english
    assert '<a href="../course/zh/01_small.html" hreflang="zh-Hans" lang="zh-Hans" rel="alternate">中文</a>' in english
    assert "。另一行。" in chinese
    first = re.search(r'<img src="\.\./_static/(figures/01_small/\d+-0\.webp)"', english)[1]
    assert f'<img src="../../_static/{first}"' in chinese.partition("结论")[0]
    assert '<a href="../../notebooks/01_small.html" hreflang="en" lang="en" rel="alternate">English</a>' in chinese
    assert "跳到正文" in chinese
    assert "Skip to content" not in chinese
    assert "<title>多小才算小？" in chinese


def test_chinese_within_english_changes_the_voice(site):
    assert '<span lang="zh-Hans">作者:苏剑林</span>.' in text_of(site, LESSON)
    assert '<span lang="zh-Hans">多小才算小？</span>' in text_of(site, "index.html")


def test_the_front_page_lists_what_there_is(site):
    page = text_of(site, "index.html")
    for title in ("Notebooks", "中文", "For lecturers"):
        assert f'<span class="caption-text"{" lang=" if title == "中文" else ""}' in page
    assert "Worked solutions" not in page  # there are none
    assert "explorer.png" not in page  # a picture of sliders is no slider
    assert ">How small?<" in page
    assert "Solutions are in a folder." in page


def test_captions_are_text_and_pictures_have_no_band(site):
    page = text_of(site, LESSON)
    assert "<figcaption>Two is 2 &lt;here&gt;.</figcaption>" in page
    assert 'width="200" height="100"' in page
    assert "min-width: min(1ch, 100%)" in page  # of the value: the slider keeps its length
    assert "run the cell to move it" not in page
    assert re.search(
        r'alt="Plot of how far off: error epsilon over order n; the caption below puts it in numbers"', page
    )
    assert "Fixed here: more = off. All of them move in the notebook 01_small.ipynb." in page


def test_maths_comes_from_the_site_alone(site):
    assert (site.folder / "_static/mathjax" / SCRIPT).exists()
    assert list((site.folder / "_static/mathjax" / FONTS).glob("*.woff"))
    assert "mathjax" in text_of(site, LESSON)
    assert "mathjax" not in text_of(site, "search.html")


FAULTS = {
    '<script src="https://cdn.example/x.js"></script>': "loads https://cdn.example/x.js from outside",
    '<img src="//cdn.example/x.png" alt="">': "loads //cdn.example/x.png from outside",
    '<img src="gone.png" alt="">': "loads gone.png, which is not there",
    '<img src="_static/site.js">': "no alternative text for _static/site.js",
    '<link rel="stylesheet" href="https://fonts.example/a.css">': "loads https://fonts.example/a.css from outside",
    '<a href="gone.html">x</a>': "links to gone.html, which is not there",
    '<a href="search.html#nowhere">x</a>': "links to search.html#nowhere, where nothing is called 'nowhere'",
    '<p id="twice"></p><p id="twice"></p>': "the id 'twice' occurs twice",
    '<figure class="picture playable" data-frames="_static"></figure>': "the figure _static has no frames",
}


@pytest.mark.parametrize(("part", "complaint"), FAULTS.items(), ids=FAULTS.values())
def test_the_check_finds_a_fault(site, tmp_path, part, complaint):
    copy = tmp_path / "site"
    (copy / "_static").mkdir(parents=True)
    for name in ("search.html", "_static/site.js"):
        shutil.copyfile(site.folder / name, copy / name)
    (copy / "index.html").write_text(f'<html lang="en"><body>{part}</body></html>')
    assert [said for said in check(copy) if said.startswith("index.html")] == [f"index.html: {complaint}"]


def test_the_check_wants_pages_with_a_language_and_styles_from_inside(tmp_path):
    assert check(tmp_path) == [f"{tmp_path}: no page"]
    (tmp_path / "a.html").write_text("<html><body></body></html>")
    (tmp_path / "a.css").write_text("@import 'https://a.example/x.css'; b {background: url(//c.example/d.png)}")
    assert check(tmp_path) == [
        "a.html: does not say its language", "a.css: loads https://a.example/x.css", "a.css: loads //c.example/d.png",
    ]  # fmt: skip


def test_the_theme_still_has_what_is_mended(site):
    pages = "".join(path.read_text(encoding="utf-8") for path in site.folder.rglob("*.html"))
    assert sum(better in pages for better in PARTS.values()) >= len(PARTS) - 1  # one of two kinds of contents
    assert mend('<th class="head"><p></p></th>') == "<td></td>"


@pytest.mark.parametrize(
    ("link", "becomes"),
    [
        ("[a](../README.md)", "[a](../index.md)"),
        ("[a](../README.md#b)", "[a](../index.md#b)"),
        ("[a](02_b.ipynb)", "[a](02_b.ipynb)"),
        ("[a](solutions)", "a"),
        ("[a](gone.md)", "[a](gone.md)"),  # Sphinx complains of it
        ("[a](https://b/c)", "[a](https://b/c)"),
        ("[a](#b)", "[a](#b)"),
        ("![a](solutions)", "![a](solutions)"),
    ],
)
def test_links(link, becomes, tmp_path):
    (tmp_path / "notebooks/solutions").mkdir(parents=True)
    place = Path("notebooks/01_a.ipynb")
    assert source.rewrite_links(link, place, {"notebooks/02_b.ipynb"}, tmp_path) == becomes


# the command


def test_a_page_is_looked_at_again_when_it_has_changed_or_was_bad(tmp_path, monkeypatch):
    asked = []

    def inspect(_browser, page):
        asked.append(page.name)
        return ["wrong"] if "bad" in page.read_text() else []

    monkeypatch.setattr(command, "find_chromium", lambda: "chromium")
    monkeypatch.setattr(command, "chromium", nullcontext)
    monkeypatch.setattr(command, "inspect", inspect)
    out, cache = tmp_path / "site", tmp_path / "cache"
    (out / "_static").mkdir(parents=True)
    for name, text in {"a.html": "good", "b.html": "bad"}.items():
        (out / name).write_text(text)
    looks = [command.look(out, cache) for _ in range(2)]
    assert looks == [["b.html: wrong"]] * 2
    assert asked == ["a.html", "b.html", "b.html"]
    (out / "b.html").write_text("mended")
    assert command.look(out, cache) == command.look(out, cache) == []
    assert asked[3:] == ["b.html"]
    (out / "_static/site.js").write_text("other")
    command.look(out, cache)
    assert asked[4:] == ["a.html", "b.html"]


@pytest.mark.parametrize(("built", "looked"), [(["not built"], None), ([], ["not good"]), ([], [])])
def test_the_command_fails_on_any_complaint(built, looked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "build", lambda out, notebooks, root: built)
    monkeypatch.setattr(command, "look", lambda out: looked)
    assert command.main(["--out", str(tmp_path)]) == bool(built or looked)
    assert capsys.readouterr().err.splitlines() == (built or looked)


# in a browser


@pytest.fixture
def lesson(site, browser):
    page, found = open_page(browser, site.folder / LESSON)
    typeset(page)
    yield page
    page.close()
    assert found == []


@pytest.mark.parametrize("name", [LESSON, "course/zh/01_small.html"])  # make site looks at every page
def test_a_browser_has_no_complaint(site, browser, name):
    assert inspect(browser, site.folder / name) == []


def test_formulas_are_typeset_with_their_tags(lesson):
    assert maths(lesson) == []
    assert lesson.locator("div.math mjx-container").count() == 2
    assert lesson.locator("div.math mjx-mlabeledtr").count() == 2  # \tag in both
    assert lesson.locator("div.math mjx-mtable mjx-mtable").count() >= 3  # aligned, cases, the matrices
    assert lesson.locator("mjx-assistive-mml math").count() == 4  # what a screen reader reads
    assert lesson.locator("code mjx-container").count() == 0


def test_a_wrong_formula_is_noticed(lesson):
    lesson.evaluate(
        r"""async () => {
            document.querySelector("p span.math").textContent = "\\(\\nosuch{x}\\)";
            await MathJax.typesetPromise();
            document.querySelector("div.math").replaceChildren("raw");
        }"""
    )
    assert maths(lesson) == ["not typeset: raw", "a formula that is wrong: Undefined control sequence \\nosuch"]


def test_figures_that_do_not_follow_are_noticed(lesson):
    assert figures(lesson) == []
    lesson.evaluate("document.querySelector('figure.playable').replaceWith("
                    "document.querySelector('figure.playable').cloneNode(true))")  # fmt: skip
    assert any("shows" in fault for fault in figures(lesson))


def test_a_keyboard_reaches_the_slider_and_a_screen_reader_is_told(lesson):
    lesson.keyboard.press("Tab")
    assert lesson.evaluate("document.activeElement.textContent.trim()") in ("Skip to content", "")
    slider = lesson.get_by_role("slider", name="order n")
    live = lesson.locator("figure.playable [aria-live=polite]").element_handle()
    for _ in range(60):
        lesson.keyboard.press("Tab")
        if slider.evaluate("slider => slider === document.activeElement"):
            break
    assert slider.evaluate("slider => slider === document.activeElement"), "60 times Tab do not reach the slider"
    assert slider.get_attribute("aria-valuetext") == "2"
    lesson.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "3"
    assert live.evaluate("live => live.isConnected && live.textContent") == "n is 3"  # the same place, a new sentence
    lesson.keyboard.press("Tab")
    lesson.keyboard.press("Enter")  # Reset
    assert slider.get_attribute("aria-valuetext") == "2"


def test_nothing_below_a_figure_moves_with_its_slider(lesson):
    slider = lesson.get_by_role("slider", name="order n")
    heights = set()
    for key in ("Home", "ArrowRight", "End"):
        slider.press(key)
        heights.add(lesson.locator("figure.playable").evaluate("figure => figure.offsetHeight"))
    assert len(heights) == 1


def test_what_scrolls_can_be_scrolled_by_key(lesson):
    wide = lesson.locator("pre", has_text="x" * 300)
    assert wide.get_attribute("tabindex") == "0"
    assert lesson.locator("pre", has_text="from helpers").get_attribute("tabindex") is None


def test_without_scripts_the_picture_and_its_caption_remain(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site.folder / LESSON).as_uri())
    figure = page.locator("figure.playable")
    assert figure.locator("img").is_visible()
    assert figure.get_by_text("n is 2").first.is_visible()
    assert not figure.locator("input").is_visible()
    context.close()


def test_on_a_phone_the_menu_opens_and_closes_by_keyboard(lesson):
    lesson.set_viewport_size(PHONE)
    link = lesson.locator(".sidebar-drawer a").first
    assert not link.is_visible()
    menu = lesson.get_by_label("Toggle site navigation sidebar")
    menu.focus()
    lesson.keyboard.press("Space")
    link.wait_for(state="visible")
    lesson.keyboard.press("Escape")
    link.wait_for(state="hidden")
    assert menu.evaluate("menu => menu === document.activeElement")
