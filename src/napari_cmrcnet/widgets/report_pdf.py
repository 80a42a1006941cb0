"""The HTML report as PDF, laid out by Qt: its pages are A4."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from qtpy.QtCore import QMarginsF, QSizeF
from qtpy.QtGui import QPageLayout, QPageSize, QPdfWriter, QTextDocument, QTextOption

from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.progress import Job, Progress

DPI = 140  # at which a page of 180 mm is 990 pixels wide, as a page in a browser is
_SCREEN = 96  # dots an inch for which Qt takes the width of a picture to be given


def pdf_job(html: Callable[[Path], Job[Path]], path: Path) -> Job[Path]:
    """Write a report as PDF.

    Parameters
    ----------
    html : callable
        Returns the job that writes it as HTML to a path.
    path : Path
        The .pdf file.
    """
    with TemporaryDirectory() as folder:
        written = yield from html(Path(folder) / "report.html")
        yield Progress("Writing pages", 0, 0)
        with atomic_file(path) as temporary:
            print_pdf(written.read_text("utf-8"), temporary)
    return path


def print_pdf(html: str, path: Path) -> None:
    """Print a page of `document.html_page` to a PDF file."""
    writer = QPdfWriter(str(path))
    writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
    writer.setPageMargins(QMarginsF(15, 15, 15, 15), QPageLayout.Unit.Millimeter)
    writer.setResolution(DPI)

    def narrower(found: "re.Match[str]") -> str:
        width = min(int(found[1]), writer.width())  # Qt knows no max-width
        return f'width="{int(width * _SCREEN / DPI)}" src='

    html = re.sub(r'width="(\d+)" src=', narrower, html).replace("<table>", '<table cellspacing="0">')
    html = re.sub(r"<(/?)figure>", r"<\1p>", html).replace("<figcaption>", "<br>")  # Qt knows neither
    document = QTextDocument()
    document.documentLayout().setPaintDevice(writer)
    words = QTextOption()
    words.setWrapMode(QTextOption.WrapMode.WordWrap)
    document.setDefaultTextOption(words)
    document.setMetaInformation(QTextDocument.MetaInformation.CssMedia, "print")
    document.setDocumentMargin(0)
    document.setHtml(html)
    document.setPageSize(QSizeF(writer.width(), writer.height()))
    document.print_(writer)
