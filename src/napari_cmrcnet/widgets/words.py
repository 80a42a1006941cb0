"""What a setting that an error of the core names is called in the panels."""

from napari_cmrcnet.common.errors import Setting, UserError

CONTROLS: dict[Setting, str] = {
    "pixel size": "Pixel size, under More settings",
    "k": "Neighbours, under More settings",
    "device": "Device, under More settings",
    "checkpoint": "Find checkpoint…, in the View panel",
}


def in_panel_words(error: UserError) -> str:
    """Return an error's message with the control that mends it."""
    return error.told(CONTROLS)
