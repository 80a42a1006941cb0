"""Text and JSON from outside, as people, spreadsheets and other programs write them."""

import codecs
import json
from pathlib import Path
from typing import Any


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
