"""A sheet of sections: a CSV file with the columns ``section,slide,spots,patient``, for commands that take many."""

import csv
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import is_there, write_content
from napari_cmrcnet.common.suffixes import PREDICTIONS, SLIDES, ends_in
from napari_cmrcnet.common.text import read_text

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

COLUMNS = ("section", "slide", "spots", "patient")
PIXEL_SIZE, LIBRARY, POOL = "mpp", "library", "pool"  # columns that may be left out
LONGEST_NAME = 150  # bytes of a section's name: systems take 255 for a file, which adds to it
# What Windows keeps for devices, with any ending
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{device}{number}" for device in ("COM", "LPT") for number in range(1, 10))}


@dataclass(frozen=True)
class SheetRow:
    """One section of a sheet, not yet opened.

    Parameters
    ----------
    section : str
        Its name; results are stored under it.
    slide : Path
        The slide.
    spots : Path, optional
        The spots; None lays a grid over the tissue.
    patient : str
        The patient that it is from, ``""`` where unknown.
    mpp : float, optional
        µm per full-resolution pixel, where the files do not know it or are wrong.
    library : str
        Which section of the spots' file, see `open_spots`; ``""`` where it holds one.
    pool : str
        To what spots cells or bins are pooled, see `pool_for`; ``""`` is the default.
    """

    section: str
    slide: Path
    spots: Path | None
    patient: str
    mpp: float | None = None
    library: str = ""
    pool: str = ""

    def open(self, **kwargs: Any) -> "Section":
        """Open the section; keyword arguments go to `open_section`."""
        from napari_cmrcnet.sections.section import open_section  # a window that asks where files are must not wait

        return open_section(
            self.slide,
            self.spots,
            name=self.section,
            patient=self.patient,
            mpp=self.mpp,
            library=self.library,
            pool=self.pool,
            **kwargs,
        )


def is_sheet(path: Path) -> bool:
    """Say whether a CSV file begins as a sheet does: with a column of sections and one of slides."""
    try:
        filled = _lines(path)
    except UserError:
        return False
    return bool(filled) and {"section", "slide"} <= {name.casefold() for name in filled[0][1]}


def read_sheet(path: str | os.PathLike[str]) -> list[SheetRow]:
    """Read a sheet of sections.

    Parameters
    ----------
    path : path
        CSV with the columns section, slide, spots and patient, in any order; the last two may be empty. Three more
        may be there: mpp, library and pool. Paths are relative to the sheet.

    Raises
    ------
    UserError
        If the sheet cannot be read, has other columns or no row, or a row lacks a name or slide, repeats a
        section, or names a file that does not exist. The message names the line.
    """
    path = Path(path)
    filled = _lines(path)
    if not filled:
        raise UserError(f"{path} is empty; its first line must be {','.join(COLUMNS)}.")
    header_line, header = filled[0][0], [name.casefold() for name in filled[0][1]]
    if sorted({*header} - {PIXEL_SIZE, LIBRARY, POOL}) != sorted(COLUMNS) or len(set(header)) != len(header):
        lacks = [name for name in COLUMNS if name not in header]
        what = f"the column {lacks[0]} is missing" if lacks else f"the columns are {','.join(header)}"
        raise UserError(f"{path}, line {header_line}: {what}; it must be {','.join(COLUMNS)}.")
    if len(filled) == 1:
        raise UserError(f"{path} lists no section; add a line for each below the columns.")
    seen: dict[str, int] = {}
    return [_row(path, line, header, cells, seen) for line, cells in filled[1:]]


def write_sheet(rows: Iterable[SheetRow], path: Path) -> Path:
    """Write a sheet, its paths relative to it, for commands that take one; return it.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for row in rows:
        slide, spots = (file.relative_to(path.parent).as_posix() if file else "" for file in (row.slide, row.spots))
        lines.writerow((row.section, slide, spots, row.patient))
    return write_content(path, text.getvalue())


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return number and cells of each line that is not empty, without the empty cells at its end that Excel leaves."""
    if path.suffix.casefold() in (".xlsx", ".xls", ".ods", ".numbers"):
        raise UserError(f"{path} is a workbook; save the sheet as CSV in your spreadsheet program, and give that.")
    kind = "slide" if ends_in(path.name, SLIDES) else "file of spots" if ends_in(path.name, PREDICTIONS) else ""
    if is_there(path) and not path.is_file():
        kind = "folder" if path.is_dir() else "pipe or device"  # which may never end
    if kind:
        raise UserError(f"{path} is a {kind}, not a sheet; give a CSV file with the columns {','.join(COLUMNS)}.")
    with readable(path, "is not a readable CSV file", errors=(OSError, UnicodeError, csv.Error)):
        text = read_text(path)
        separator = max(",;\t", key=text.partition("\n")[0].count)  # Excel's depends on the language of the computer
        reader = csv.reader(StringIO(text, newline=""), strict=True, delimiter=separator)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    filled = [(line, cells) for line, cells in lines if any(cells)]
    width = len([name for name in filled[0][1] if name]) if filled else 0  # the others are Excel's, and empty
    return [(line, cells if any(cells[width:]) else cells[:width]) for line, cells in filled]


def _row(path: Path, line: int, header: list[str], cells: list[str], seen: dict[str, int]) -> SheetRow:
    where = f"{path}, line {line}"
    if len(cells) != len(header):
        raise UserError(f"{where}: {len(cells)} values for {len(header)} columns; quote values that hold a comma.")
    row = dict(zip(header, cells, strict=True))
    section = row["section"]
    if not section or not row["slide"]:
        raise UserError(f"{where}: the {'slide' if section else 'section'} is empty; fill it in.")
    if not can_name_a_file(section):
        raise UserError(f"{where}: the section {section[:50]!a} cannot name a file; use letters, digits, - and _.")
    first = seen.setdefault(section.casefold(), line)  # file names differ in more than case
    if first != line:
        raise UserError(f"{where}: the section {section} repeats that of line {first}; give each its own name.")
    slide = _existing(path, where, row["slide"])
    spots = _existing(path, where, row["spots"]) if row["spots"] else None
    mpp, library = _pixel_size(where, row.get(PIXEL_SIZE, "")), row.get(LIBRARY, "")
    if library and spots is None:
        raise UserError(f"{where}: the library {library!a} is a part of a spots file; fill in the spots.")
    return SheetRow(section, slide, spots, row["patient"], mpp, library, _pool(where, row.get(POOL, ""), spots))


def can_name_a_file(section: str) -> bool:
    """Whether every system takes a name, and people read it as it is: no marks that turn the direction of writing."""
    reserved = section.partition(".")[0].rstrip().upper() in RESERVED
    odd = re.search(r'[/\\:*?"<>|]', section) or section.startswith(".") or section.endswith(".")
    return section.isprintable() and not odd and not reserved and len(section.encode()) <= LONGEST_NAME


def _pixel_size(where: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UserError(f"{where}: the mpp {text!r} is not a number; give µm per pixel, such as 0.5.") from error


def _pool(where: str, text: str, spots: Path | None) -> str:
    if not text:
        return ""
    from napari_cmrcnet.sections.pooling import pool_from

    if spots is None:
        raise UserError(f"{where}: there are no spots to pool; leave the pool empty, or fill the spots in.")
    try:
        pool_from(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return text


def _existing(sheet: Path, where: str, name: str) -> Path:
    file = sheet.parent / name
    if not is_there(file):  # it may be a name that no system takes
        raise UserError(f"{where}: {file} does not exist; paths are relative to the sheet.")
    return file
