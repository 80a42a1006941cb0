"""What the panels remember from one day to the next: the last files, folders and settings of the form."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import platformdirs
from qtpy.QtCore import QSettings

T = TypeVar("T", str, int, float, bool)


def recall(key: str, default: T) -> T:
    """Return what was remembered under a key; the default where nothing was, or something of another kind."""
    try:
        value = json.loads(str(_kept().value(key)))  # Qt turns words into 0 or True, and PyQt6 a comma into a list
    except ValueError:
        return default
    return value if type(value) is type(default) else default


def remember(values: Mapping[str, str | int | float | bool]) -> None:
    """Keep values by their keys. Where the file cannot be written, they are forgotten: no error worth a message."""
    kept = _kept()
    for key, value in values.items():
        if kept.value(key) != json.dumps(value):
            kept.setValue(key, json.dumps(value))


def _kept() -> QSettings:
    """Return what is kept; ``CMRCNET_CONFIG`` names another folder than the system's own for settings."""
    folder = os.environ.get("CMRCNET_CONFIG") or platformdirs.user_config_dir("napari-cmrcnet", appauthor=False)
    return QSettings(str(Path(folder) / "panels.ini"), QSettings.Format.IniFormat)
