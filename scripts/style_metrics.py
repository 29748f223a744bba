"""Measures the style that can be measured, and fails where a limit is broken.

In: folders and files. Out: a table of figures, and one line `file:line: what` per breach; the exit
status is 1 when there is one. `tests` need no docstrings and no annotations: a test's name says it.
A broad `except` is allowed where its line says why: `# noqa: BLE001 - reason`.
Cost: about 10 ms per file. Standard library only: files are parsed, never imported.
Command: `python scripts/style_metrics.py activeuf_core activeuf_dagster scripts tests`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_LINE = 100
MAX_FILE = 500
MAX_FUNCTION = 60
TABLE_OF_CONTENTS = {"activeuf_dagster/definitions.py": 100}
"""Files with a limit of their own."""
REASONED = "noqa: BLE001 - "

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


@dataclass
class Figures:
    """What was measured of some files."""

    breaches: list[str] = field(default_factory=list)
    file_lines: list[int] = field(default_factory=list)
    function_lines: list[int] = field(default_factory=list)
    code_lines: int = 0
    test_lines: int = 0
    case_lines: list[int] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the files and folders of the command line; return the exit status."""
    named = [Path(name) for name in (sys.argv[1:] if arguments is None else arguments)]
    figures = measure(named)
    sys.stdout.write(table(figures))
    for breach in figures.breaches:
        sys.stdout.write(f"{breach}\n")
    return 1 if figures.breaches else 0


def measure(paths: Iterable[Path]) -> Figures:
    """Measure every Python file below some paths."""
    figures = Figures()
    for path in python_files(paths):
        _measure_file(path, figures)
    return figures


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the Python files below some paths in order."""
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def table(figures: Figures) -> str:
    """Return the figures as text."""
    ratio = figures.test_lines / max(figures.code_lines, 1)
    rows = [
        ("lines per file", _spread(figures.file_lines)),
        ("lines per function", _spread(figures.function_lines)),
        ("lines per test case", _spread(figures.case_lines)),
        ("test lines : lines", f"{figures.test_lines} : {figures.code_lines} = {ratio:.2f}"),
        ("breaches", str(len(figures.breaches))),
    ]
    return "".join(f"{name:22}{value}\n" for name, value in rows)


def _spread(values: Sequence[int]) -> str:
    ranked = sorted(values) or [0]
    p90 = ranked[min(len(ranked) - 1, int(0.9 * len(ranked)))]
    return f"median {ranked[len(ranked) // 2]}, p90 {p90}, max {ranked[-1]}"


def _measure_file(path: Path, figures: Figures) -> None:
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    tree = ast.parse(source, filename=str(path))
    is_test = "tests" in path.parts
    figures.test_lines += len(lines) if is_test else 0
    figures.code_lines += 0 if is_test else len(lines)
    figures.file_lines += [] if is_test else [len(lines)]
    found = [*_size_breaches(path, lines), *_statement_breaches(tree, lines)]
    for node in ast.walk(tree):
        if isinstance(node, Function):
            length = _length(node)
            is_case = is_test and node.name.startswith("test_")
            (figures.case_lines if is_case else figures.function_lines).append(length)
            if length > MAX_FUNCTION:
                found.append((node.lineno, f"{node.name} has {length} lines, limit {MAX_FUNCTION}"))
    if not is_test:
        found += [*_docstring_breaches(tree), *_annotation_breaches(tree)]
    figures.breaches += [f"{path}:{line}: {what}" for line, what in sorted(found)]


def _size_breaches(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    limits = [limit for name, limit in TABLE_OF_CONTENTS.items() if path.as_posix().endswith(name)]
    limit = min([MAX_FILE, *limits])
    if len(lines) > limit:
        yield 1, f"the file has {len(lines)} lines, limit {limit}"
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE:
            yield number, f"the line has {len(line)} characters, limit {MAX_LINE}"


def _statement_breaches(tree: ast.Module, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                yield node.lineno, "print; write to a log, or to sys.stdout in a command line"
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                yield node.lineno, "star import"
            case ast.ExceptHandler(type=None | ast.Name(id="Exception" | "BaseException")):
                if REASONED not in lines[node.lineno - 1]:
                    yield node.lineno, f"broad except without a reason (# {REASONED}why)"


def _docstring_breaches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in _public(tree):
        if ast.get_docstring(node) is None:
            yield (
                getattr(node, "lineno", 1),
                f"{getattr(node, 'name', 'the module')} has no docstring",
            )


def _public(node: Documented) -> Iterator[Documented]:
    """Yield a module or class and what is public in it; functions inside functions are not."""
    yield node
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _public(child)
        elif isinstance(child, Function) and not child.name.startswith("_"):
            yield child


def _annotation_breaches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            given = node.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            extra = [item for item in (given.vararg, given.kwarg) if item]
            for argument in [*named, *extra]:
                if argument.annotation is None and argument.arg not in ("self", "cls"):
                    yield node.lineno, f"{node.name}: {argument.arg} has no annotation"
            if node.returns is None:
                yield node.lineno, f"{node.name} says not what it returns"


def _length(node: Function) -> int:
    """Return the lines from `def` to the last statement, less the docstring."""
    first = node.body[0]
    text = first.value if isinstance(first, ast.Expr) else None
    is_docstring = isinstance(text, ast.Constant) and isinstance(text.value, str)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


if __name__ == "__main__":
    sys.exit(main())
