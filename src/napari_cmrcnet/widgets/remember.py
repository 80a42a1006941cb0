"""What the panels remember from one day to the next: the last files, folders and settings of the form."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import platformdirs

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_json

T = TypeVar("T", str, int, float, bool)


def recall(key: str, default: T) -> T:
    """Return what was remembered under a key; the default where nothing was, or something of another kind."""
    value = _read().get(key, default)
    return value if type(value) is type(default) else default


def remember(values: Mapping[str, str | int | float | bool]) -> None:
    """Keep values by their keys. Where the file cannot be written, they are forgotten: no error worth a message."""
    before = _read()
    after = {**before, **values}
    if after == before:
        return
    try:
        write_json(_file(), after)
    except UserError:
        return


def _file() -> Path:
    """Return the file; ``CMRCNET_CONFIG`` names another folder than the system's own for settings."""
    folder = os.environ.get("CMRCNET_CONFIG") or platformdirs.user_config_dir("napari-cmrcnet", appauthor=False)
    return Path(folder) / "panels.json"


def _read() -> dict[str, object]:
    try:
        values = json.loads(_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
