"""The shape of the code: sizes, who touches files, and nothing left over."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted((ROOT / "chatapp").rglob("*.py"))
LONGEST_MODULE_LINES = 350
LONGEST_FUNCTION_LINES = 50
NINE_OF_TEN_FUNCTIONS_LINES = 25
MEDIAN_FUNCTION_LINES = 8
# What may open files; everything else asks the store. Static files are read for their address and compressed once.
FILE_PLACES = re.compile(
    r"chatapp/((storage|engine|supervisor)/|(config|config_docs|engine_state|library_file|routes/static_files)\.py$)"
)
FILE_CALLS = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir"}
TEXTS = [
    path
    for folder in ("chatapp", "templates", "static", "tests", "docs", ".ci", "bench")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".html", ".js", ".css", ".md", ".sh", ""} and path.is_file()
]
# Work left undone, paths of one machine, and places that only its makers know.
LEFTOVER = re.compile(
    r"\b(?:[T]ODO|[F]IXME|[X]XX)\b|/(?:home|root|Users)/\w|\b[p]ypi\.org|[p]ythonhosted|[D]ESIGN\.md|\b[i]ssue #?\d"
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> list[tuple[str, int]]:
    """Return each function's name and the lines of its body, without its docstring and inner functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (f"{name_of(path)}:{node.name}", body_lines(node))
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    if not body:
        return 0
    inner = sum(
        (child.end_lineno or 0) - child.lineno + 1
        for statement in body
        for child in ast.walk(statement)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return max(1, (body[-1].end_lineno or 0) - body[0].lineno + 1 - inner)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE_LINES


def test_functions_are_short() -> None:
    sizes = [size for path in MODULES for _name, size in functions(path) if size]

    assert statistics.median(sizes) <= MEDIAN_FUNCTION_LINES
    assert statistics.quantiles(sizes, n=10)[-1] <= NINE_OF_TEN_FUNCTIONS_LINES


def test_no_function_is_long() -> None:
    sizes = [entry for path in MODULES for entry in functions(path)]

    assert [entry for entry in sizes if entry[1] > LONGEST_FUNCTION_LINES] == []


def test_files_are_touched_in_few_places() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        if not FILE_PLACES.match(name_of(path))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and called_name(node) in FILE_CALLS
    ]

    assert found == []


def called_name(call: ast.Call) -> str:
    """Return the name of what is called; a method called open is some object's own, not the file system's."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr.replace("open", "")
    return getattr(call.func, "id", "")


def test_nothing_is_left_over() -> None:
    found = [
        f"{name_of(path)}:{number}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if LEFTOVER.search(line)
    ]

    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name_of(path)
        for path in MODULES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []
