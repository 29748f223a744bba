"""The leaderboard as one HTML file: sortable by a click, readable in light and dark.

In: the content of leaderboard.json. Out: a page that needs nothing from outside. Pure functions.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from activeuf_core.reporting.tables import all_notes, no_value, row_name

STYLE = """
:root {
  color-scheme: light dark;
  --line: #d0d0d0; --muted: #666; --head: #f2f2f2; --up: #177245; --down: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root { --line: #444; --muted: #aaa; --head: #262626; --up: #6fd39b; --down: #ff8a80; }
}
body {
  font: 15px/1.45 system-ui, sans-serif;
  margin: 2rem auto; max-width: 90rem; padding: 0 1rem;
}
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td {
  padding: .45rem .8rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap;
}
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; }
td:first-child { background: Canvas; }
th { background: var(--head); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid; outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
small { color: var(--muted); display: block; }
.none { color: var(--muted); }
.up { color: var(--up); } .down { color: var(--down); }
.mean { background: var(--head); font-weight: 600; }
"""

SCRIPT = """
const body = document.querySelector("tbody");
const heads = [...document.querySelectorAll("th")];
function key(row, column) {
  const text = row.cells[column].dataset.value;
  return text === "" ? null : column === 0 ? text : Number(text);
}
heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const first = column === 0 ? "ascending" : "descending";
  const other = column === 0 ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a, column), key(b, column)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
  body.append(...rows);
}));
"""


def render_html(board: Mapping[str, Any]) -> str:
    """Return the leaderboard as one page."""
    heads = ["experiment", *(column["title"] for column in board["columns"])]
    head = "".join(f'<th scope="col"><button>{html.escape(title)}</button></th>' for title in heads)
    kinds = [column["kind"] for column in board["columns"]]
    body = "\n".join(_html_row(row, kinds) for row in board["rows"])
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in all_notes(board))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Leaderboard</title>\n<style>{STYLE}</style>\n</head>\n"
        "<body>\n<h1>Leaderboard</h1>\n"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
        f"<ul>{notes}</ul>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _html_row(row: Mapping[str, Any], kinds: Sequence[str]) -> str:
    about = about_row(row)
    name, key = html.escape(row_name(row)), html.escape(row["name"])
    first = f'<td data-value="{key}">{name}<small>{html.escape(about)}</small></td>'
    cells = (
        _html_cell(cell, kind) for cell, kind in zip(row["cells"].values(), kinds, strict=True)
    )
    return f"<tr>{first}{''.join(cells)}</tr>"


def about_row(row: Mapping[str, Any]) -> str:
    """Return what stands below a row's name: data set, loss, seeds, annotations."""
    if row["baseline"]:
        return {"untrained": "a base model as it is", "published": "published scores"}[
            row["baseline"]
        ]
    seeds = f"seed{'s' if len(row['seeds']) > 1 else ''} {', '.join(map(str, row['seeds']))}"
    bought = "" if row["annotations"] is None else f"{row['annotations']:,.0f} annotations"
    return ", ".join(part for part in (row["dataset"], row["loss"], seeds, bought) if part)


def _html_cell(cell: Mapping[str, Any], kind: str) -> str:
    classes = ' class="mean"' if kind == "mean" else ""
    if cell["value"] is None:
        return f'<td data-value=""{classes}><span class="none">{no_value(cell)}</span></td>'
    spread = f" ± {cell['spread']:.3f}" if cell["spread_kind"] else ""
    delta = ""
    if cell["delta"] is not None:
        way = {True: "up", False: "down", None: "same"}[cell["is_better"]]
        delta = f'<small class="{way}">{cell["delta"]:+.3f}</small>'
    return f'<td data-value="{cell["value"]!r}"{classes}>{cell["value"]:.3f}{spread}{delta}</td>'
