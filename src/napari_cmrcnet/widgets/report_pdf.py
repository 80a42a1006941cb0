"""The HTML report as PDF, laid out by Qt: its pages are A4. The command line runs it as a program of its own."""

import re
import sys
from pathlib import Path
from typing import Any

from qtpy.QtCore import QMarginsF, QSizeF
from qtpy.QtGui import (
    QGuiApplication,
    QPageLayout,
    QPageSize,
    QPdfWriter,
    QTextBlock,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextOption,
)

DPI = 140  # at which a page of 180 mm is 990 pixels wide, as a page in a browser is
_SCREEN = 96  # dots an inch for which Qt takes the width of a picture to be given
_ABOVE = 18  # such dots above a heading


def print_pdf(html: Path, path: Path) -> None:
    """Print a page of `document.html_page`, a file, to a PDF file."""
    writer = QPdfWriter(str(path))
    writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
    writer.setPageMargins(QMarginsF(15, 15, 15, 15), QPageLayout.Unit.Millimeter)
    text = html.read_text("utf-8").replace("<table>", '<table cellspacing="0">')
    text = re.sub(r"<(/?)figure>", r"<\1p>", text).replace("<figcaption>", "<br>")  # Qt knows neither
    for dpi in range(DPI, 2 * DPI, 10):  # a wide table makes all smaller, or its last columns are cut off
        writer.setResolution(dpi)
        document = laid_out(text, writer)
        if document.size().width() <= writer.width():
            break
    document.print_(writer)


def laid_out(html: str, writer: QPdfWriter) -> QTextDocument:
    """Return a page of HTML as a document of the writer's pages; it is wider where a table does not fit."""

    def narrower(found: "re.Match[str]") -> str:
        width = min(int(found[1]), writer.width())  # Qt knows no max-width
        return f'width="{int(width * _SCREEN / writer.resolution())}" src='

    document = QTextDocument()
    document.documentLayout().setPaintDevice(writer)
    words = QTextOption()
    words.setWrapMode(QTextOption.WrapMode.WordWrap)
    document.setDefaultTextOption(words)
    document.setMetaInformation(QTextDocument.MetaInformation.CssMedia, "print")
    document.setDocumentMargin(0)
    document.setHtml(re.sub(r'width="(\d+)" src=', narrower, html))
    document.setPageSize(QSizeF(writer.width(), writer.height()))
    _set_headings(document)
    return document


def _set_headings(document: QTextDocument) -> None:
    """Give headings room above them, and let none stand alone at the foot of a page; of CSS, Qt knows neither."""

    def page(block: QTextBlock) -> int:
        top = document.documentLayout().blockBoundingRect(block).top() + block.layout().lineAt(0).y()
        return int(top // document.pageSize().height())

    def change(block: QTextBlock, name: str, value: Any) -> None:
        changed = block.blockFormat()
        getattr(changed, name)(value)
        QTextCursor(block).setBlockFormat(changed)

    blocks = (document.findBlockByNumber(number) for number in range(document.blockCount()))
    headings = [block for block in blocks if block.blockFormat().headingLevel()]
    for block in headings:
        change(block, "setTopMargin", _ABOVE)
    for block in headings:  # from the first: a break moves all that comes after it
        if block.next().isValid() and page(block.next()) > page(block):
            change(block, "setPageBreakPolicy", QTextFormat.PageBreakFlag.PageBreak_AlwaysBefore)
    document.markContentsDirty(0, document.characterCount())  # else what follows a table that moved is lost


if __name__ == "__main__":
    application = QGuiApplication([])
    print_pdf(*map(Path, sys.argv[1:]))
