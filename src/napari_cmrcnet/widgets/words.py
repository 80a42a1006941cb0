"""Messages of the core, which name options of the command line, in the words of the panels."""

import re

_PHRASES = (
    (r"\(--mpp, such as 0\.5, or the column mpp of a sheet\)", "(Pixel size, under More settings)"),
    (r"\(--mpp, or the column mpp of a sheet\)", "(Pixel size, under More settings)"),
    (r"choose --device cpu or auto", "choose another device under More settings"),
    (r"choose auto, cpu, cuda, cuda:1 or mps", "choose another device under More settings"),
    (r"use --device cpu", "choose the CPU under More settings"),
    (r"say where it is now with --checkpoint, or Prediction\.load\(path, checkpoint\)\.", "press Find checkpoint…"),
    (r"say where it is with --checkpoint\.", "press Find checkpoint…"),
    (r" \(--spots\)", ""),
    (r"make one with 'napari-cmrcnet predict'", "make one with the Predict panel"),
)


def in_panel_words(text: str) -> str:
    """Return a message with what the panels call the things to change."""
    for pattern, words in _PHRASES:
        text = re.sub(pattern, words, text)
    return text
