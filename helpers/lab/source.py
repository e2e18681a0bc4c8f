"""Show the source of the tested helper in the notebook, so that nothing the reader relies on is hidden."""

import ast
import inspect
import textwrap
from collections.abc import Callable

from IPython.display import Markdown, display


def show_source(function: Callable) -> None:
    """Show the source of a function or class without its docstrings (which ``function?`` shows).

    Raises
    ------
    TypeError
        When the argument has no Python source.

    Examples
    --------
    >>> from helpers.lab.controls import toggle
    >>> show_source(toggle)  # doctest: +ELLIPSIS
    <IPython.core.display.Markdown object>
    """
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError as error:
        raise TypeError(f"function must have Python source, got {function!r}") from error
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [None] * (docstring.end_lineno - docstring.lineno + 1)
    code = "\n".join(line for line in lines if line is not None)
    display(Markdown(f"```python\n{code}\n```"))
