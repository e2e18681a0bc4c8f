"""Settings of Sphinx, and what it does not do by itself: local maths, the language switch, accessible pages."""

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

project = "Movable Derivations"
project_copyright = "text and figures CC BY 4.0, code BSD-3-Clause"
language = "en"
extensions = ["myst_nb"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["dollarmath"]
myst_title_to_header = True
myst_heading_anchors = 4
myst_heading_slug_func = "tools.site.source.anchor"

html_theme = "furo"
html_title = project
html_math_renderer = "as_it_stands"
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sphinx = False
html_copy_source = False
html_use_index = False
html_show_search_summary = False  # it fetches whole pages, which a page opened from disk may not
html_theme_options = {"navigation_with_keys": False}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# What the theme says, on a Chinese page.
CHINESE = {
    "Skip to content": "跳到正文",
    "On this page": "本页目录",
    "Contents": "目录",
    "Back to top": "回到顶部",
    "Next": "下一页",
    "Previous": "上一页",
    "Home": "首页",
    "Search": "搜索",
    "Copyright &#169; %(copyright)s": "版权：%(copyright)s",
}


def inline_maths(writer: Any, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">\\({html.escape(node.astext())}\\)</span>')
    raise nodes.SkipNode


def display_maths(writer: Any, node: nodes.math_block) -> None:
    # As it stands: Sphinx's own renderer would put it into `split`, where no \tag is allowed.
    writer.body.append(f'<div class="math">\\[{html.escape(node.astext())}\\]</div>\n')
    raise nodes.SkipNode


def counterpart(page: str, pages: set[str]) -> tuple[str, str, str] | None:
    """The same lesson in the other language: page, language, what the link says."""
    if page.startswith("course/zh/"):
        other = page.replace("course/zh/", "notebooks/")
        return (other, "en", "English") if other in pages else None
    other = page.replace("notebooks/", "course/zh/")
    return (other, "zh-Hans", "中文") if other != page and other in pages else None


def finish_page(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Load MathJax where there is maths; say the language, and link the page's counterpart in the other one."""
    body = context.get("body", "")
    if 'class="math' in body:
        app.add_js_file("mathjax-config.js")
        app.add_js_file("mathjax/tex-chtml.js", loading_method="defer")
    path_to = context["pathto"]
    if page.startswith("course/zh/"):
        context["language"] = "zh-Hans"

        def say(text: str, **values: object) -> str:
            text = CHINESE.get(text, text)
            return text % values if values else text

        context["gettext"] = context["_"] = say
    if other := counterpart(page, set(app.env.all_docs)):
        target, tongue, word = other
        context["metatags"] = (
            context.get("metatags", "") + f'<link rel="alternate" hreflang="{tongue}" href="{path_to(target)}">'
        )
        link = f'<a href="{path_to(target)}" hreflang="{tongue}" lang="{tongue}" rel="alternate">{word}</a>'
        context["body"] = f'<nav class="language" aria-label="Language 语言">{link}</nav>' + body
    if "furo_navigation_tree" in context:
        tree = context["furo_navigation_tree"]
        tree = re.sub(r'(<a class="[^"]*")( href="[^"]*course/zh/)', r'\1 lang="zh-Hans"\2', tree)
        context["furo_navigation_tree"] = tree.replace(">中文<", ' lang="zh-Hans">中文<')


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("as_it_stands", (inline_maths, None), (display_maths, None))
    app.connect("html-page-context", finish_page, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
