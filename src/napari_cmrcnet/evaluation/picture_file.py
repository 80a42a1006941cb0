"""Figures as files: PNG, SVG and PDF, the same figure the same file to the byte."""

import os
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.progress import Job, Progress, in_thread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("png", "svg", "pdf")
_LONGEST = 80  # letters of a file's name: some systems take no more than 255 bytes
_NO_DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> Path:
    """Write a figure as its path's ending says.

    Parameters
    ----------
    figure : Figure
        What to write.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    UserError
        If the ending is another, or the file cannot be written.
    """
    path = Path(path)
    return write_content(path, _content(figure, kind_of(path)))


def draw_picture(draw: "Callable[[], Figure]", path: str | os.PathLike[str], progress: Progress) -> Job[Path]:
    """Draw a figure and write it as `save_figure` does.

    It is drawn in a thread, as that takes up to a second: Cancel does not wait for it, and nothing is written then.

    Parameters
    ----------
    draw : callable
        Returns the figure. It must not read what is closed when the job is cancelled, such as a slide.
    path : path
        As for `save_figure`.
    progress : Progress
        Yielded while it is drawn.
    """
    path = Path(path)
    kind = kind_of(path)
    return write_content(path, (yield from in_thread(lambda: _content(draw(), kind), progress)))


def kind_of(path: Path) -> str:
    """Return which of `KINDS` a path's ending says.

    Raises
    ------
    UserError
        If it says none of them.
    """
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise UserError(f"{path.name} is not a kind of picture that can be saved; end its name in .png, .svg or .pdf.")
    return kind


def _content(figure: "Figure", kind: str) -> bytes:
    import matplotlib

    content = BytesIO()
    settings = {"svg.hashsalt": "napari-cmrcnet", "pdf.fonttype": 42}  # 42: text stays text in other programs
    with matplotlib.rc_context(settings):
        figure.savefig(content, format=kind, metadata=_NO_DATES.get(kind), dpi=figure.dpi)
    return content.getvalue()


def file_names(texts: Sequence[str]) -> list[str]:
    """Return a name for each that every file system takes, all different: numbered where they would not be."""
    names = [file_name(text) for text in texts]
    if len({name.casefold() for name in names}) == len(names):
        return names
    return [f"{number}_{name}" for number, name in enumerate(names, start=1)]


def file_name(text: str) -> str:
    """Return a name that every file system takes."""
    return re.sub(r"[^\w.\-]+", "_", text).strip("._")[:_LONGEST] or "unnamed"
