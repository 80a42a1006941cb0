"""A report as parts that say the same on an HTML page and in Markdown. Names from outside are shown as they are.

The page is one file: all text escaped, pictures embedded, nothing loaded and nothing run.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import markdown_table, markdown_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PX_PER_INCH = 78  # of figures on the page: slide, measured and predicted side by side fill it
_SHORT = 23  # letters of a cell that is not broken into lines

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a;
  background: #fff; }
@media screen { body { max-width: 74rem; margin: 0 auto; padding: 1rem 1.5rem 3rem; } }
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
td { overflow-wrap: anywhere; } td.short { overflow-wrap: break-word; }
@media (max-width: 74rem) { table { font-size: .82rem; } th, td { padding: 3px 5px; }
  td.short { white-space: normal; } }
@media print { @page { margin: 15mm; } body { font-size: 10.5pt; }
  .banner, .note { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2 { break-after: avoid; } figure, tr, .note { break-inside: avoid; } thead { display: table-header-group; } }
"""


@dataclass(frozen=True)
class Heading:
    """A heading; that of the report has level 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; a ``note`` is what makes figures better, or less real, than they look, a ``banner`` what all is."""

    text: str
    kind: Literal["quiet", "note", "banner"] = "quiet"


@dataclass(frozen=True)
class Table:
    """A table: numbers to the right with three decimals, a dash where there is none."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Pairs:
    """Names and values."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture: ``text`` is for those who cannot see it, ``source`` its data (see `drawn`) or its file's name."""

    source: str
    text: str
    caption: str = ""
    width: int = 0


Part = Heading | Text | Table | Pairs | Picture


def drawn(
    figure: "Figure", text: str, caption: str = "", *, kind: Literal["png", "jpeg"] = "png", dpi: int = 110
) -> Picture:
    """Return a figure as a picture that is in the page. JPEG is for slides."""
    content = BytesIO()
    settings = {"quality": 88, "subsampling": 0} if kind == "jpeg" else {}
    figure.savefig(content, format=kind, dpi=dpi, pil_kwargs=settings)
    data = b64encode(content.getvalue()).decode("ascii")
    width = round(PX_PER_INCH * figure.get_figwidth())
    return Picture(f"data:image/{kind};base64,{data}", text, caption, width)


def html_page(title: str, parts: Iterable[Part]) -> str:
    """Return a report as a page. It may load nothing, and run nothing."""
    rules = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{rules}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *map(_html, parts),
            "</body>\n</html>\n",
        ]
    )


def html_or_pdf(html: Callable[[Path], Job[Path]], path: Path, print_pdf: Callable[[Path, Path], None]) -> Job[Path]:
    """Write a report as the ending of its name says.

    Parameters
    ----------
    html : callable
        Returns the job that writes it as HTML to a path.
    path : Path
        The file, ``.pdf`` or any other as HTML.
    print_pdf : callable
        Prints an HTML file, its first argument, to a PDF file.
    """
    if path.suffix.lower() != ".pdf":
        return (yield from html(path))
    with TemporaryDirectory() as folder:
        written = yield from html(Path(folder) / "report.html")
        yield Progress("Writing pages", 0, 0)
        with atomic_file(path) as temporary:
            print_pdf(written, temporary)
    return path


def _html(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text, kind):
            name = "p" if kind == "quiet" else "div"
            return f'<{name} class="{kind}">{escape(text)}</{name}>'
        case Pairs(values):
            rows = (f"<tr><th>{escape(name)}</th><td>{escape(cell(of))}</td></tr>" for name, of in values.items())
            return "\n".join(["<table>\n<tbody>", *rows, "</tbody>\n</table>"])
        case Picture(source, text, caption, width):
            below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
            return f'<figure><img alt="{escape(text)}" width="{width}" src="{source}">{below}</figure>'
    short = [all(len(cell(row[i])) <= _SHORT for row in part.rows) for i in range(len(part.header))]
    kinds = [' class="n"' if n else ' class="short"' * few for n, few in zip(_numeric(part), short, strict=True)]

    def line(tag: str, row: Sequence[Any]) -> str:
        cells = (f"<{tag}{kind}>{escape(cell(value))}</{tag}>" for value, kind in zip(row, kinds, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    body = [line("td", row) for row in part.rows]
    return "\n".join([f"<table>\n<thead>{line('th', part.header)}</thead>\n<tbody>", *body, "</tbody>\n</table>"])


def markdown(parts: Iterable[Part]) -> str:
    """Return a report as Markdown."""
    return "\n".join(map(_markdown, parts))


def _markdown(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {markdown_text(text)}\n"
        case Text(text, kind):
            said = markdown_text(text)
            return {"quiet": said, "note": f"> **Note.** {said}", "banner": f"**{said}**"}[kind] + "\n"
        case Pairs(values):
            return "".join(f"- {markdown_text(name)}: {markdown_text(cell(value))}\n" for name, value in values.items())
        case Picture(source, text):
            return f"![{markdown_text(text)}]({quote(source)})\n"
    header, *rows = ([markdown_text(cell(value)) for value in row] for row in (part.header, *part.rows))
    return markdown_table(header, rows, _numeric(part))


def _numeric(table: Table) -> list[bool]:
    return [all(_is_number(row[i]) or row[i] in (None, "") for row in table.rows) for i in range(len(table.header))]


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
