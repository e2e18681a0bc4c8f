"""What every notebook looks like. Each rule takes a notebook and returns its complaints.

A lesson's headings of level 2 are `SECTIONS`, in this order; others begin with ``Deeper:`` and come after *Derivation*.
`tests/test_the_tests.py` breaks every rule at least once and wants to see it complain.
"""

import ast
import copy
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests import collection as see
from tests.collection import LESSONS, NOTEBOOKS, SOLUTIONS
from tools.notebooks import BUDGETS, METADATA, ROOT, Notebook, normalise, plain, serialise

SECTIONS = (
    "In one minute", "You will be able to", "Notation", "Setup", "The naive version first", "Derivation",
    "The careful version", "Explore", "Experiment", "Does it reproduce?", "Where it breaks", "Key ideas", "Exercises",
    "Further reading", "References",
)  # fmt: skip
SOURCES = ("Further reading", "References")
TAGS = {"nbval-ignore-output", "raises-exception", "hide-input"}
NO_TORCH = ("00", "01")

Rule = Callable[[Notebook], list[str]]
Complaints = Iterable[tuple[int | str, str]]  # the cell, or the section or "" for the notebook; what is wrong
LESSON_RULES: list[Rule] = []
RULES: list[Rule] = list(BUDGETS)


def rule(kind: list[Rule]) -> Callable[[Callable[[Notebook], Complaints]], Rule]:
    """Register a rule that yields its complaints; they come out with the notebook and the place in front."""

    def register(complaints: Callable[[Notebook], Complaints]) -> Rule:
        @functools.wraps(complaints)
        def sentences(notebook: Notebook) -> list[str]:
            return [f"{_place(notebook, where)}: {what}" for where, what in complaints(notebook)]

        kind.append(sentences)
        return sentences

    return register


def _place(notebook: Notebook, where: int | str) -> str:
    if isinstance(where, int):
        return notebook.at(where)
    return f"{notebook.name}, {where}" if where else notebook.name


# ---------------------------------------------------------------- what a lesson holds, from top to bottom


@rule(LESSON_RULES)
def title_is_a_question(notebook: Notebook) -> Complaints:
    titles = [title for level, title, _ in see.headings(notebook) if level == 1]
    if len(titles) != 1 or not titles[0].endswith("?") or not notebook.node.cells[0].source.startswith("# "):
        yield "", f"should begin with its only '# ' heading, a question; has {titles}"


@rule(LESSON_RULES)
def title_cell_names_article_and_licences(notebook: Notebook) -> Complaints:
    for text in ("](https://", "CC BY 4.0", "BSD-3-Clause"):
        if text not in notebook.node.cells[0].source:
            yield 0, f"the title cell does not hold {text!r}"


@rule(LESSON_RULES)
def sections_in_order(notebook: Notebook) -> Complaints:
    have = [title for level, title, _ in see.headings(notebook) if level == 2 and not title.startswith("Deeper:")]
    yield from (("", f"section '## {title}' is missing") for title in SECTIONS if title not in have)
    yield from (("", f"'## {title}' is not one of the sections") for title in have if title not in SECTIONS)
    if sorted(have) == sorted(SECTIONS) and have != list(SECTIONS):
        yield "", f"the sections are in the order {have}"
    yield from (("", f"'## {title}' occurs twice") for title in SECTIONS if have.count(title) > 1)
    derived = False
    for _, title, cell in see.headings(notebook):
        derived = derived or title == "Derivation"
        if title.startswith("Deeper:") and not derived:
            yield cell, f"'{title}' comes before the derivation"


@rule(LESSON_RULES)
def one_minute_gives_the_verdict(notebook: Notebook) -> Complaints:
    computed = see.verdict(notebook)
    if computed is None:
        yield "", "no output holds the verdict of lab.claims"
    elif (sentence := f"**{computed[0]}** ({computed[1]}") not in see.section(notebook, "In one minute"):
        yield "In one minute", f"does not hold {sentence!r}"


@rule(LESSON_RULES)
def says_what_you_will_learn(notebook: Notebook) -> Complaints:
    here = "You will be able to"
    text = see.section(notebook, here)
    if not 3 <= (bullets := len(re.findall(r"^[-*] ", text, re.MULTILINE))) <= 5:
        yield here, f"{bullets} bullets, should be 3 to 5"
    if "**You need**" not in text:
        yield here, "no **You need**"
    if not re.search(r"\*\*Time\*\*.*\bread \d+ min\b.*\brun \d+ s\b.*\bexercises \d+ min\b", text):
        yield here, "no line such as '**Time**: read 45 min · run 30 s · exercises 40 min'"


@rule(LESSON_RULES)
def notation_is_a_table(notebook: Notebook) -> Complaints:
    if not re.search(r"^\|(\s*:?-+:?\s*\|){4,}\s*$", see.section(notebook, "Notation"), re.MULTILINE):
        yield "Notation", "no table of symbol, meaning, shape, name in code"


@rule(LESSON_RULES)
def setup_is_short(notebook: Notebook) -> Complaints:
    cells = [line.cell for line in notebook.lines if line.kind == "code cell" and line.section == "Setup"]
    lengths = [len(notebook.node.cells[cell].source.splitlines()) for cell in cells]
    if len(cells) != 1 or lengths[0] > 8:
        yield "Setup", f"should be one code cell of at most 8 lines; cells {cells} have {lengths}"


@rule(LESSON_RULES)
def equations_are_checked(notebook: Notebook) -> Complaints:
    tags = [(tag, k) for k, text in see.markdown(notebook) for tag in re.findall(r"\\tag\{(.*?)\}", text)]
    checked = {
        match[1]: k
        for k, calls in see.cells_that_call(notebook, "check")
        for call in calls
        for given in [*call.args, *(keyword.value for keyword in call.keywords)]
        if (match := re.match(r"\((\w+)\)", see.opening(given)))
    }
    if not tags:
        yield "Derivation", "no equation has a number"
    for number, (tag, k) in enumerate(tags, start=1):
        if tag != str(number):
            yield k, f"equation {number} has the number ({tag})"
        elif tag not in checked:
            yield k, f"no lab.check(…, '({tag}) …') for equation ({tag})"
    for tag in checked.keys() - {tag for tag, _ in tags}:
        yield checked[tag], f"checks ({tag}), which no equation has"


@rule(LESSON_RULES)
def explorers_are_framed(notebook: Notebook) -> Complaints:
    texts = dict(see.markdown(notebook))
    for k, _ in see.cells_that_call(notebook, "Explorer"):
        before = texts.get(k - 1, "")
        if not 2 <= (questions := plain(before.partition("<details>")[0]).count("?")) <= 3:
            yield k, f"{questions} questions before the Explorer, should be 2 or 3"
        if not re.search(r"<details>\s*<summary>.+?</summary>.*\w.*</details>", before, re.DOTALL):
            yield k, "no collapsed answers (<details><summary>…) before the Explorer"
        if k + 1 not in texts:
            yield k, "no text after the Explorer that says what to have seen"


@rule(LESSON_RULES)
def claims_are_computed(notebook: Notebook) -> Complaints:
    places = {line.cell: line.section for line in notebook.lines}
    cells = [k for k, calls in see.cells_that_call(notebook, "claims") for _ in calls]
    if [places[k] for k in cells] != ["Does it reproduce?"]:
        yield "", f"should call lab.claims once, in 'Does it reproduce?'; calls it in cells {cells}"
    for k in cells:
        rows = sorted(see.calls(see.tree(notebook.node.cells[k].source), "Claim"), key=lambda call: call.lineno)
        if not rows:
            yield k, "no lab.Claim in the cell of lab.claims"
        for number, row in enumerate(rows, start=1):
            statement = see.opening(see.argument(row, 0, "statement"))
            if not statement.startswith(f"C{number} "):
                yield k, f"claim {number} should begin with 'C{number} ', begins with {statement[:20]!r}"
            if _is_typed(see.argument(row, 2, "measured")):
                yield k, f"the measured value of C{number} is typed, not computed"
    for k, cell in notebook.code:
        if any("reproduced" in see.opening(node) for node in ast.walk(see.tree(cell.source))):
            yield k, "types a verdict; lab.claims computes it"


def _is_typed(measured: ast.expr | None) -> bool:
    """Whether a measured value is a literal, or a dictionary with one; None stands for what cannot be tested."""
    if isinstance(measured, ast.Dict):
        return any(map(_is_typed, measured.values))
    try:
        return measured is None or ast.literal_eval(measured) is not None
    except ValueError:
        return False


@rule(LESSON_RULES)
def key_ideas_are_quotes(notebook: Notebook) -> Complaints:
    quotes = re.findall(r"(?:^>.*\n?)+", see.section(notebook, "Key ideas"), re.MULTILINE)
    if not 3 <= len(quotes) <= 6:
        yield "Key ideas", f"{len(quotes)} block quotes, should be 3 to 6"


@rule(LESSON_RULES)
def exercises_are_complete(notebook: Notebook) -> Complaints:
    text = see.section(notebook, "Exercises")
    numbers = re.findall(r"^### Exercise (\d+) ★{1,3} \S", text, re.MULTILINE)
    if not 4 <= len(numbers) <= 6 or numbers != [str(k + 1) for k in range(len(numbers))]:
        yield "Exercises", f"headings '### Exercise 1 ★ …' have the numbers {numbers}, should be 1 to 4, 5 or 6"
    if len(see.exercise_functions(notebook)) < 2:
        yield "Exercises", "fewer than two with @lab.exercise"
    for words in ("find the bug", "derive"):
        if words not in text.lower():
            yield "Exercises", f"none says {words!r}"


@rule(RULES)
def stubs_are_untouched(notebook: Notebook) -> Complaints:
    if notebook.kind == "solution":
        return
    for k, spec, function in see.exercise_functions(notebook):
        body = function.body[ast.get_docstring(function) is not None :]
        if [ast.unparse(statement) for statement in body] != ["..."]:
            yield k, f"the stub of {spec} should hold '...' only"


@rule(RULES)
def exercises_have_solutions(notebook: Notebook) -> Complaints:
    if notebook.kind == "solution":
        return
    path = notebook.path.parent / "solutions" / notebook.path.name
    solved = set()
    if path.exists():
        solution = Notebook.read(path)
        for k, spec, _ in see.exercise_functions(solution):
            said = "".join(text for output in solution.node.cells[k].outputs for text in see.texts(output))
            solved |= {spec} if re.search(r": right on \d+ random inputs", said) else set()
    for k, spec, _ in see.exercise_functions(notebook):
        if spec not in solved:
            yield k, f"no cell of solutions/{path.name} solves {spec}"


@rule(LESSON_RULES)
def sources_have_links(notebook: Notebook) -> Complaints:
    for title in SOURCES:
        bullets = re.split(r"^(?=[-*] |\d+\. )", see.section(notebook, title), flags=re.MULTILINE)[1:]
        if not bullets:
            yield title, "is not a list"
        yield from ((title, f"no link in {text[:60]!r}") for text in bullets if "https://" not in text)


# ---------------------------------------------------------------- prose, in every notebook


@rule(RULES)
def prose_is_sober(notebook: Notebook) -> Complaints:
    for line in notebook.lines:
        text = plain(line.text).replace("![", "[") if line.kind in ("prose", "heading") else ""
        if word := re.search(r"\b(obviously|simply|clearly|trivially)\b|!", text, re.IGNORECASE):
            yield line.cell, f"{word[0]!r} in {line.text.strip()[:60]!r}"


@rule(RULES)
def numbers_are_computed(notebook: Notebook) -> Complaints:
    """Decimals, percentages and powers of ten in the prose come from the code or its outputs, rounded or not."""
    computed = see.computed_numbers(notebook)
    for line in notebook.lines:
        if line.kind == "prose" and line.section not in SOURCES and line.cell != 0:
            for typed in see.not_computed(line.text, computed):
                yield line.cell, f"no cell computes {typed} in {line.text.strip()[:60]!r}"


@rule(RULES)
def maths_renders_everywhere(notebook: Notebook) -> Complaints:
    """On GitHub, nbviewer and in JupyterLab alike."""
    for k, source in see.markdown(notebook):
        text = re.sub(r"```.*?```|`[^`\n]*`", "code", source, flags=re.DOTALL)
        blocks = re.findall(r"(?:\A|\n\s*\n)\$\$\n(?:(?!\$\$)[^\n]*\S[^\n]*\n)+\$\$(?=\n\s*\n|\n?\Z)", text)
        if text.count("$$") != 2 * len(blocks):
            yield k, "$$ should stand alone on its line, with blank lines around the pair and none inside"
        if outside := re.search(r"\\(begin|tag)\b.*", re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)):
            yield k, f"{outside[0]!r} outside $$"
        if macro := re.search(
            r"\\begin\{(align|equation|gather|multline|eqnarray)\*?\}"
            r"|\\(label|eqref|ref|newcommand|def|DeclareMathOperator)\b|(?<!\\)\\[\[(]",
            text,
        ):
            yield k, f"{macro[0]!r} does not render everywhere"


@rule(RULES)
def links_resolve(notebook: Notebook) -> Complaints:
    for k, source in see.markdown(notebook):
        text = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$", "", source, flags=re.DOTALL)
        for bang, words, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]*)[^)]*\)", text):
            if complaint := _link(notebook, k, target):
                yield k, complaint
            if bang and not words.strip():
                yield k, f"the picture {target} has no alternative text"
        for tag in re.findall(r"<img\b[^>]*>", text):
            if not re.search(r"""\balt=["'][^"']""", tag):
                yield k, f"{tag[:60]} has no alternative text"
    yield from ((k, "http:, not https:") for k, cell in enumerate(notebook.node.cells) if "http:" in cell.source)


def _link(notebook: Notebook, cell: int, target: str) -> str:
    if re.match(r"https?:|mailto:", target):
        return ""
    if target.startswith("attachment:"):
        there = target.partition(":")[2] in notebook.node.cells[cell].get("attachments", {})
        return "" if there else f"{target} is not attached"
    file, _, anchor = unquote(target).partition("#")
    path = notebook.path.parent / file if file else notebook.path
    if not path.exists():
        return f"the link {target} leads to no file"
    if anchor and path.suffix == ".ipynb":
        other = Notebook.read(path) if file else notebook
        # JupyterLab's anchors: the heading with its spaces replaced
        if anchor not in {re.sub(r"[*`]", "", title).replace(" ", "-") for _, title, _ in see.headings(other)}:
            return f"the link {target} leads to no heading"
    return ""


# ---------------------------------------------------------------- code and outputs, in every notebook


@rule(RULES)
def code_is_plain_python(notebook: Notebook) -> Complaints:
    for k, cell in notebook.code:
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            yield k, f"not plain Python: {(error.text or '').strip()!r}"


@rule(RULES)
def no_global_seed(notebook: Notebook) -> Complaints:
    return [(k, what) for k, cell in notebook.code for what in see.global_randomness(see.tree(cell.source))]


@rule(RULES)
def no_torch_without_need(notebook: Notebook) -> Complaints:
    if notebook.path.name.startswith(NO_TORCH):
        yield from ((k, "imports torch") for k, cell in notebook.code if "torch" in see.imports(see.tree(cell.source)))


@rule(RULES)
def colours_come_from_the_style(notebook: Notebook) -> Complaints:
    return [(k, what) for k, cell in notebook.code for what in see.colour_literals(see.tree(cell.source))]


@rule(RULES)
def figures_have_captions(notebook: Notebook) -> Complaints:
    for k, calls in see.cells_that_call(notebook, "figure"):
        for call in calls:
            caption = see.argument(call, 1, "caption")
            if caption is None or (isinstance(caption, ast.Constant) and not see.opening(caption).strip()):
                yield k, "a figure without a caption"
    for k, cell in notebook.code:
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                yield from ((k, what) for what in _picture(output))


def _picture(output: dict) -> Iterator[str]:
    sentence = output.data.get("text/plain", "")
    if not sentence.strip() or sentence.startswith("<"):
        yield f"a picture without a sentence, only {sentence!r}"
    elif output.metadata.get("image/png", {}).get("alt") != sentence:
        yield "a picture whose alternative text is not its sentence"
    elif see.CJK.search(sentence):
        yield f"Chinese characters in the caption {sentence!r} may draw as boxes"


@rule(RULES)
def outputs_are_stable(notebook: Notebook) -> Complaints:
    for k, cell in notebook.code:
        for output in cell.outputs:
            if output.get("name") == "stderr":
                yield k, f"writes to stderr: {output.text.strip()[:60]!r}"
            if address := re.search(r"<[^<>]* at 0x\w+>", " ".join(see.texts(output))):
                yield k, f"the output holds an address: {address[0]}"


PATH = re.compile(r"""(?:^|[\s"'(=\[:])((?:~/|[A-Z]:\\{1,2}|/(?:[\w.-]+/)+)[\w.-]*)""", re.MULTILINE)


@rule(RULES)
def no_absolute_paths(notebook: Notebook) -> Complaints:
    for k, cell in enumerate(notebook.node.cells):
        for text in [cell.source, *(text for output in cell.get("outputs", []) for text in see.texts(output))]:
            found = PATH.findall(re.sub(r"https?://\S+|<[^>]*>", " ", text))
            yield from ((k, f"the path {path}") for path in found)


@rule(RULES)
def counts_run_from_one(notebook: Notebook) -> Complaints:
    counts = [cell.execution_count for _, cell in notebook.code]
    if counts != list(range(1, len(counts) + 1)):
        yield "", f"execution counts are {counts}; `make notebooks` runs it in order"


@rule(RULES)
def tags_are_known(notebook: Notebook) -> Complaints:
    following = [*(cell.source for _, cell in notebook.code[1:]), ""]
    for (k, cell), after in zip(notebook.code, following, strict=True):
        tags = set(cell.metadata.get("tags", []))
        if unknown := tags - TAGS:
            yield k, f"unknown tags {sorted(unknown)}"
        if "nbval-ignore-output" in tags and not re.search(r"^assert |\bcheck\(", after, re.MULTILINE):
            yield k, "its output is ignored, and the next code cell asserts nothing"
        if "raises-exception" in tags and all(output.output_type != "error" for output in cell.outputs):
            yield k, "is tagged raises-exception and raises nothing"


@rule(RULES)
def file_is_normalised(notebook: Notebook) -> Complaints:
    if notebook.node.metadata != METADATA:
        yield "", f"metadata {dict(notebook.node.metadata)}, should be {METADATA}"
    node = copy.deepcopy(notebook.node)
    normalise(node)
    have, due = notebook.path.read_text(encoding="utf-8"), serialise(node)
    if have != due:
        pairs = enumerate(zip(have.splitlines(), due.splitlines(), strict=False), start=1)
        number, (line, wanted) = next(
            ((n, pair) for n, pair in pairs if pair[0] != pair[1]), (0, ("its end", "another"))
        )
        yield f"line {number}", f"{line.strip()[:60]!r}, where `make notebooks` writes {wanted.strip()[:60]!r}"


# ---------------------------------------------------------------- the README


def readme_lists_the_notebooks(root: Path) -> list[str]:
    """``| [title](notebooks/….ipynb) | article | minutes | verdict |``, one row per file, in order."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    row = r"^\| *\[(.+?)\]\((notebooks/[^/]+\.ipynb)\) *\|.*\| *(\S+) *\| *(.*?) *\|$"
    rows = re.findall(row, readme, re.MULTILINE)
    files = [f"notebooks/{path.name}" for path in sorted((root / "notebooks").glob("*.ipynb"))]
    if (listed := [file for _, file, _, _ in rows]) != files:
        return [f"README.md lists {listed}, notebooks/ holds {files}"]
    return [
        f"README.md, {file}: {complaint}"
        for title, file, minutes, words in rows
        for complaint in _row(Notebook.read(root / file), title, minutes, words)
    ]


def _row(notebook: Notebook, title: str, minutes: str, words: str) -> Iterator[str]:
    if (heading := see.headings(notebook)[0][1]) != title:
        yield f"the title is {heading!r}, the row says {title!r}"
    if not any(re.search(rf"\*\*Time\*\*.*\bread {minutes} min", line.text) for line in notebook.lines):
        yield f"its Time line does not say 'read {minutes} min'"
    if notebook.kind == "lesson":
        word, count = see.verdict(notebook) or ("computed nowhere", "")
        if not re.fullmatch(rf"\**{word}\**(: {count}\b.*)?", words):
            yield f"the verdict is {word!r} with {count}, the row says {words!r}"


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("rule", RULES, ids=see.name)
@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=see.name)
def test_notebook(path, rule):
    complaints = rule(see.read(path))
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("rule", LESSON_RULES, ids=see.name)
@pytest.mark.parametrize("path", LESSONS, ids=see.name)
def test_lesson(path, rule):
    complaints = rule(see.read(path))
    assert not complaints, "\n".join(complaints)


def test_readme_lists_the_notebooks():
    assert readme_lists_the_notebooks(ROOT) == []
