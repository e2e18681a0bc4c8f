"""A repository of one small lesson with everything the site is made of, its site, and a browser."""

import base64
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser

from helpers import lab
from helpers.lab.figures import StaticTwin
from tests.browser.conftest import browser_path as browser_path
from tests.site.test_frames import Step
from tools.browser import chromium
from tools.site.__main__ import build

README = """# Small Derivations

What it is.

![sliders](docs/explorer.png)

## The notebooks

| question | article |
|---|---|
| [How small?](notebooks/01_small.ipynb) | [多小才算小？](https://kexue.fm) |

Solutions are in [a folder](notebooks/solutions).

## Teach
"""
TEXT = r"""# How small?

From the [front page](../README.md), see [the step](#Step-1.-Two-lines) and the [solutions](solutions). 作者:苏剑林.

## Step 1. Two lines

Inline $x_1$ and `\(not maths\)`.

$$
\begin{aligned}
a &= b + c \\
  &= \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}
\end{aligned}
\tag{1}
$$

$$
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \begin{bmatrix} x \\ y \end{bmatrix} \tag{2}
$$

<details>
<summary>Answers</summary>

Behind the fold, $e^{x}$.

</details>

| | wide |
|---|---|
| a | b |
"""
CHINESE = """---
title: 多小才算小？
notebook: 01_small
---

## 一分钟

一个公式 $x_1$。
另一行。

**结论**：**成立**。
"""


def saved(shown: object) -> list:
    data, _ = shown._repr_mimebundle_()
    png = base64.b64encode(data["image/png"]).decode()
    return [new_output("display_data", {"image/png": png, "text/plain": data["text/plain"]})]


def small_repository(root: Path) -> None:
    explorer = lab.Explorer(Step, n=lab.slider("order n", 1, 3, 1, value=2), more=lab.toggle("more"))
    still = StaticTwin(explorer.frame, "Two is 2 <here>.")
    claim = "| claim | verdict |\n|---|---|\n| C1 | **reproduced** |"
    cells = [
        new_markdown_cell(TEXT),
        new_code_cell("from helpers import lab\nfrom tests.site.test_frames import Step"),
        new_code_cell(
            'lab.Explorer(Step, n=lab.slider("order n", 1, 3, 1, value=2), more=lab.toggle("more"))',
            outputs=saved(explorer),
        ),
        new_code_cell("x" * 300, outputs=saved(still)),
        new_code_cell(
            "print()",
            outputs=[
                new_output("stream", name="stdout", text="said " * 99),
                new_output("display_data", {"text/markdown": claim, "text/plain": claim}),
            ],
        ),
    ]
    files = {
        "README.md": README,
        "course/zh/01_small.md": CHINESE,
        "course/lecturer/01_small.md": "# The lecture\n\nLeave the [notebook](../../notebooks/01_small.ipynb) open.\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "notebooks/solutions").mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells), root / "notebooks/01_small.ipynb")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The built site of the small repository: its folder and what the build complained of."""
    folder = tmp_path_factory.mktemp("site")
    small_repository(folder / "repository")
    found = build(folder / "site", None, folder / "cache", folder / "repository")
    return SimpleNamespace(folder=folder / "site", found=found)


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Browser]:
    with chromium(browser_path) as browser:
        yield browser
