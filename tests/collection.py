"""The notebooks as the tests see them: files, headings, what their code calls and how it is run."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.cells import as_in_a_kernel as as_in_a_kernel
from tools.cells import calls as calls
from tools.cells import cells_that_call as cells_that_call
from tools.cells import dotted as dotted
from tools.cells import run_cells as run_cells
from tools.cells import setup_cell as setup_cell
from tools.cells import tree as tree
from tools.notebooks import ROOT, Notebook, plain

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
LESSONS = [path for path in NOTEBOOKS if not path.name.startswith("00")]
CJK = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")

read = cache(Notebook.read)


def name(value: object) -> str:
    """Readable test ids: a notebook's file below notebooks/, a rule's name."""
    if isinstance(value, Path):
        return f"solutions/{value.stem}" if value.parent.name == "solutions" else value.stem
    return getattr(value, "__name__", str(value))


# ---------------------------------------------------------------- text


def headings(notebook: Notebook) -> list[tuple[int, str, int]]:
    """Level, text and cell of every heading."""
    found = [(line.text.partition(" "), line.cell) for line in notebook.lines if line.kind == "heading"]
    return [(len(marks), title.strip(), cell) for (marks, _, title), cell in found]


def markdown(notebook: Notebook) -> list[tuple[int, str]]:
    """Markdown cells with their index."""
    return [(k, cell.source) for k, cell in enumerate(notebook.node.cells) if cell.cell_type == "markdown"]


def section(notebook: Notebook, title: str) -> str:
    """Markdown below a heading of level 2, up to the next one."""
    return "\n".join(line.text for line in notebook.lines if line.section == title and line.kind != "code cell")


def texts(output: dict) -> Iterator[str]:
    """Everything readable in an output."""
    yield from (value for mime, value in output.get("data", {}).items() if mime.startswith("text/"))
    yield from (output[key] for key in ("text", "evalue") if key in output)


def verdict(notebook: Notebook) -> tuple[str, str] | None:
    """The overall verdict that lab.claims printed, with its count: ``("partly", "11 of 17")``."""
    said = "\n".join(text for _, cell in notebook.code for output in cell.outputs for text in texts(output))
    found = re.search(r"Verdict: \*\*(.+?)\*\* \((\d+ of \d+)", said)
    return (found[1], found[2]) if found else None


_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"


def computed_numbers(notebook: Notebook) -> set[float]:
    """Every number in the code and its outputs."""
    said = [text for _, cell in notebook.code for output in cell.outputs for text in texts(output)]
    said += [cell.source for _, cell in notebook.code]
    return {float(number) for text in said for number in re.findall(_NUMBER, text)}


def not_computed(text: str, computed: set[float]) -> list[str]:
    """Decimals, percentages and powers of ten in prose that are none of the computed numbers, rounded or not."""
    numbers = re.findall(rf"(?<![\w.]){_NUMBER}(?!\d|\.\d)\s?%?", plain(text))
    return [number.strip() for number in numbers if re.search(r"[.eE%]", number) and not _is_rounded(number, computed)]


def _is_rounded(typed: str, computed: set[float]) -> bool:
    """Whether a number as it is typed is one of the computed ones, or what one of them rounds to."""
    digits, _, power = typed.rstrip(" %").lower().partition("e")
    value, unit = float(typed.rstrip(" %")), 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    scales = (1, 100) if "%" in typed else (1,)
    return any(abs(scale * number - value) <= 0.5000001 * unit for number in computed for scale in scales)


# ---------------------------------------------------------------- code


def argument(call: ast.Call, place: int, keyword: str) -> ast.expr | None:
    """An argument of a call, given by place or by keyword."""
    if len(call.args) > place:
        return call.args[place]
    return next((given.value for given in call.keywords if given.arg == keyword), None)


def opening(node: ast.AST | None) -> str:
    """The text a string or an f-string begins with; "" of anything else."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def imports(module: ast.Module) -> set[str]:
    """Modules a file imports; ``from a import b`` counts as a and as a.b, both with all that they lie in."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            found |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
    return found | {name.partition(".")[0] for name in found}


def global_randomness(module: ast.Module) -> list[str]:
    """Uses of random numbers that every caller shares."""
    local = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64"}
    names = [dotted(node) for node in ast.walk(module) if isinstance(node, ast.Attribute)]
    legacy = [name for name in names if re.match(r"(np|numpy)\.random\.", name) and name.split(".")[2] not in local]
    seeds = [name for name in names if name in ("random.seed", "torch.manual_seed", "torch.cuda.manual_seed_all")]
    return [f"{name} is shared by all code; pass a generator" for name in [*legacy, *seeds]]


_COLOUR = re.compile(
    r"c|cmap|colors?|[efm]c|m[ef]c|ecolor|marker(face|edge)color(alt)?"
    r"|(edge|face|hatch|label|title|line|gap|background|text)colors?"
)
_SETTER = re.compile(r"set_(\w*color|cmap)")
_PLOT = ("plot", "errorbar", "loglog", "semilogx", "semilogy", "step")
_FORMAT = re.compile(r"[^\w\s]{0,3}[bgrcmykwC]\d?[^\w\s]{0,3}[.,osvdD^]?")


def colour_literals(module: ast.Module) -> list[str]:
    """Colours and colour maps written as strings: in arguments, dictionaries, setters and format strings."""
    found: list[str] = []
    for node in ast.walk(module):
        if isinstance(node, ast.keyword) and _COLOUR.fullmatch(node.arg or ""):
            found += _strings(node.value)
        elif isinstance(node, ast.Dict):
            items = zip(node.keys, node.values, strict=True)
            found += [text for key, value in items if _COLOUR.fullmatch(opening(key)) for text in _strings(value)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [text for value in node.args for text in _strings(value)]
            if _SETTER.fullmatch(node.func.attr):
                found += given
            elif node.func.attr in _PLOT:
                found += filter(_FORMAT.fullmatch, given)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"#[0-9a-fA-F]{6}", str(node.value)):
            found.append(node.value)
    return [f"the colour {text!r} is typed; take it from lab.style" for text in dict.fromkeys(found) if text != "none"]


def _strings(value: ast.expr) -> list[str]:
    if isinstance(value, ast.Tuple | ast.List):
        return [text for element in value.elts for text in _strings(element)]
    if isinstance(value, ast.IfExp):
        return _strings(value.body) + _strings(value.orelse)
    return [text] if (text := opening(value)) else []


def exercise_functions(notebook: Notebook) -> list[tuple[int, str, ast.FunctionDef]]:
    """Functions under ``@lab.exercise(spec)``: cell, source of the spec, definition."""
    return [
        (k, ast.unparse(call.args[0]), function)
        for k, cell in notebook.code
        for function in ast.walk(tree(cell.source))
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        for call in calls(decorator, "exercise")
    ]
