"""Figures as files: PNG, SVG and PDF, the same figure the same file to the byte."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("png", "svg", "pdf")
_LONGEST = 80  # letters of a file's name: some systems take no more than 255 bytes
_NO_DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figure(figure: "Figure", path: str | os.PathLike[str], dpi: float | None = None) -> Path:
    """Write a figure as its path's ending says.

    Parameters
    ----------
    figure : Figure
        What to write.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    dpi : float, optional
        Pixels per inch, of a PNG and of what is pixels in the others; the figure's own if not given.

    Raises
    ------
    UserError
        If the ending is another, or the file cannot be written.
    """
    import matplotlib

    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise UserError(
            f"{path.name} is none of the kinds of picture that can be saved; let it end in .png, .svg or .pdf."
        )
    settings = {"svg.hashsalt": "napari-cmrcnet", "pdf.fonttype": 42}  # 42: text stays text in other programs
    with atomic_file(path) as temporary, matplotlib.rc_context(settings):
        figure.savefig(temporary, format=kind, metadata=_NO_DATES.get(kind), dpi=dpi or figure.dpi)
    return path


def file_names(texts: Sequence[str]) -> list[str]:
    """Return a name for each that every file system takes, all different: numbered where they would not be."""
    names = [file_name(text) for text in texts]
    if len({name.casefold() for name in names}) == len(names):
        return names
    return [f"{number}_{name}" for number, name in enumerate(names, start=1)]


def file_name(text: str) -> str:
    """Return a name that every file system takes."""
    return re.sub(r"[^\w.\-]+", "_", text).strip("._")[:_LONGEST] or "unnamed"
