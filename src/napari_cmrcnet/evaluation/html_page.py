"""Parts of an HTML page that is one file: all text escaped, pictures embedded, nothing loaded and nothing run."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PX_PER_INCH = 78  # of figures on the page: slide, measured and predicted side by side fill it
_SHORT = 23  # letters of a cell that is not broken into lines

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a;
  background: #fff; max-width: 74rem; margin: 0 auto; padding: 1rem 1.5rem 3rem; }
h1 { font-size: 1.7rem; margin: 1rem 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem;
  border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
.banner { background: #8a1c1c; color: #fff; font-weight: 600; padding: .5rem .9rem; border-radius: 4px; }
.note { border-left: 4px solid #c77700; background: #fff6e5; padding: .4rem .8rem; margin: .5rem 0; }
.quiet { color: #555; }
figure { margin: 1rem 0 1.6rem; } img { max-width: 100%; height: auto; } figcaption { color: #444; font-size: .9rem; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .92rem; }
th, td { border-bottom: 1px solid #ddd; padding: 3px 8px; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #888; } tbody th { font-weight: 600; }
.n { text-align: right; font-variant-numeric: tabular-nums; } td.n, td.short { white-space: nowrap; }
td { overflow-wrap: anywhere; }
@media print { @page { margin: 15mm; } body { max-width: none; padding: 0; font-size: 10.5pt; }
  .banner, .note { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2 { break-after: avoid; } figure, tr, .note { break-inside: avoid; } thead { display: table-header-group; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page of parts that are HTML already. It may load nothing, and run nothing."""
    rules = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{rules}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *parts,
            "</body>\n</html>\n",
        ]
    )


def element(name: str, text: str, kind: str = "") -> str:
    """Return an element that holds a text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<{name}{attribute}>{escape(text)}</{name}>"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table: numbers to the right with three decimals, a dash where there is none."""
    body = list(rows)
    numeric = [all(_is_number(row[i]) or row[i] in (None, "") for row in body) for i in range(len(header))]
    short = [all(len(cell(row[i])) <= _SHORT for row in body) for i in range(len(header))]
    kinds = [' class="n"' if number else ' class="short"' * few for number, few in zip(numeric, short, strict=True)]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(header, kinds, strict=True))
    lines = [
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell(value))}</td>" for value, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in body
    ]
    return "\n".join([f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>", *lines, "</tbody>\n</table>"])


def pairs(values: Mapping[str, Any]) -> str:
    """Return a table of names and values, without a header."""
    rows = [f"<tr><th>{escape(name)}</th><td>{escape(cell(value))}</td></tr>" for name, value in values.items()]
    return "\n".join(["<table>\n<tbody>", *rows, "</tbody>\n</table>"])


def picture(
    figure: "Figure", text: str, caption: str = "", *, kind: Literal["png", "jpeg"] = "png", dpi: int = 110
) -> str:
    """Return a figure with its caption; ``text`` is for those who cannot see it. JPEG is for slides."""
    content = BytesIO()
    settings = {"quality": 88, "subsampling": 0} if kind == "jpeg" else {}
    figure.savefig(content, format=kind, dpi=dpi, pil_kwargs=settings)
    data = b64encode(content.getvalue()).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    width = round(PX_PER_INCH * figure.get_figwidth())
    return f'<figure><img alt="{escape(text)}" width="{width}" src="data:image/{kind};base64,{data}">{below}</figure>'


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:z.3f}" if np.isfinite(value) else "–"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None or value == "" else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
