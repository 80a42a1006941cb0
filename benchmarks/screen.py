"""Whether a benchmark can open a window here."""

import importlib.util
import os
import sys
import tempfile


def no_window(benchmark: str) -> bool:
    """Return whether no window can be opened here, and print why; where one can, settings are kept in a new folder."""
    here = (name for name in ("PySide6", "PyQt6") if importlib.util.find_spec(name) is not None)
    if importlib.util.find_spec("napari") is None or not any(here):
        reason = 'napari and a Qt are not installed: pip install "napari-cmrcnet[napari]"'
    elif sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        reason = "there is no screen: run it under xvfb-run -a"
    else:
        os.environ.setdefault("NAPARI_CONFIG", os.path.join(tempfile.mkdtemp(), "settings.yaml"))
        os.environ.setdefault("CMRCNET_CONFIG", tempfile.mkdtemp())
        return False
    print(f"{benchmark} is skipped: {reason}")
    return True
