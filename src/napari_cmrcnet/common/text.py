"""Text and JSON from outside: read as people, spreadsheets and other programs write them, and shown as it is.

Names of genes, sections and files come from anywhere. Wherever they are shown, what they hold must not act: `printable`
in a terminal, `markdown_text` in a report, `figure_text` and `figure_gene` in a figure, `spreadsheet.safe_text` in a
table, `html.escape` on a page.
"""

import codecs
import gzip
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, cast

_IN_NO_TEXT = bytes({*range(32), 127} - {*b"\t\n\v\f\r"})  # control characters


def open_packed(path: Path) -> IO[bytes]:
    """Open a file that may be packed by gzip, whatever its name says."""
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else open(path, "rb")


def read_text(path: Path) -> str:
    """Return the text of a file that people or their spreadsheets wrote: UTF-8, UTF-16, or Windows' own (cp1252).

    Raises
    ------
    OSError
        If the system does not let it be read.
    UnicodeError
        If it is no text.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    if b"\0" in content:
        raise UnicodeError("it holds bytes that no text has")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if any(byte in content for byte in _IN_NO_TEXT):  # any bytes are a text in cp1252, a small picture's, too
            raise UnicodeError("it holds bytes that no text has") from None
        return content.decode("cp1252")


def parse_json(text: str | bytes) -> Any:
    """Return what JSON from outside holds.

    A whole number beyond 64 bits becomes infinite: as an integer of Python's it would pass for a number, and then fail
    wherever it is computed with.

    Raises
    ------
    ValueError
        If it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Return names as a sentence lists them: the first few, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def count_text(number: int, thing: str, of: int | None = None) -> str:
    """Return how many things there are: ``"1 spot"``, ``"4,992 cells"``; of a larger number ``"179 of 181 spots"``."""
    total = number if of is None else of
    part = "" if number == total else f"{number:,} of "
    return f"{part}{total:,} {thing}{'' if total == 1 else 's'}"


def size_text(size: float) -> str:
    """Return a number of bytes as people say it: ``1.8 GB``, ``32 MB``, ``4 kB``."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size / unit:.0f} {name}"
    return f"{max(1, round(size / 1e3))} kB"


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text whose control characters are written out, such as ``\x1b`` and ``\u202e``.

    As they are, they would drive a terminal, hide or turn round what follows, or end a line; a lone surrogate cannot
    be written at all.

    Parameters
    ----------
    text : str
        A name, or a sentence with names in it, from a file.
    lines : bool
        Whether ends of lines are kept.
    """
    if text.isprintable():
        return text
    kept = "\n" if lines else ""
    unseen = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, surrogate, line and paragraph separator
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in unseen and each not in kept else each
        for each in text
    )


def markdown_text(text: str) -> str:
    """Return a text that Markdown shows as it is: in a sentence, a heading, a list or the cell of a table.

    After CommonMark 0.31 (backslash escapes, entities), with the tables, strike-through and formulas of GitHub. A
    ``_`` within a word means nothing and is left alone.
    """
    text = re.sub(r"[\\`*\[\]|]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", printable(text))
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    for sign, entity in {"<": "&lt;", ">": "&gt;", "$": "&#36;", "~": "&#126;"}.items():
        text = text.replace(sign, entity)
    return re.sub(r"^(\s*)([#+=-]|\d+(?=[.)](?:\s|$)))", _first_escaped, text)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool] = ()) -> str:
    """Return a table of cells that are Markdown already; columns that are numeric are aligned to the right."""
    rule = [f"---{':' * right}" for right, _ in zip_longest(numeric, header, fillvalue=False)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *rows))


def _first_escaped(start: re.Match[str]) -> str:
    """Escape what begins a heading or a list at the start of a line."""
    space, sign = start.groups()
    return f"{space}{sign}\\" if sign.isdigit() else f"{space}\\{sign}"


def figure_text(text: str) -> str:
    """Return a text that matplotlib draws as it is: dollar signs are dollar signs, not those of mathtext."""
    return printable(text, lines=True).replace("$", r"\$")


def figure_gene(gene: str) -> str:
    """Return a gene's symbol in italics for matplotlib, as is usual; one with mathtext's own signs as it is written."""
    if set(gene) & set("$_^\\{}#%&~ ") or not gene.isprintable():
        return figure_text(gene)
    return "-".join(rf"$\mathit{{{part}}}$" if part else "" for part in gene.split("-"))


def plain(value: Any) -> Any:
    """Return what JSON can hold: paths and NumPy scalars become text and numbers, NaN null."""
    import numpy as np  # which --help does not need

    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
