"""The reader that napari asks for slides: files and DICOM folders dropped on it, or opened from its menu.

napari asks it for every file whose name fits, so nothing heavy is imported, and no file opened, to say no.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.suffixes import SLIDES, ends_in

if TYPE_CHECKING:
    from napari_cmrcnet.common.progress import Progress
    from napari_cmrcnet.slides.slide import Slide
    from napari_cmrcnet.viewer.slide_layer import LayerData

DICOM_START = 132  # bytes: 128 of anything, then "DICM"
FILES_LOOKED_AT = 50  # in a folder, among which a slide of DICOM has an instance

NOTHING: list[tuple[None]] = [(None,)]
"""What npe2 takes for "read, and there is no layer to add": the message was shown."""

ReadSlide = Callable[..., list[Any]]

# The paths by which each file is opened; the thread hears of further drops meanwhile, and cannot wait for itself.
_opening: dict[str, list[str]] = {}


class _CancelledError(Exception):
    """The user has pressed Cancel."""


def get_slide_reader(path: str | Sequence[str]) -> ReadSlide | None:
    """Return `read_slide` for what may be a slide, None for everything else.

    Parameters
    ----------
    path : str or list of str
        A file or folder; for a list, which napari gives where files are opened as one stack, the answer is None.
    """
    if not isinstance(path, str):
        return None
    if os.path.isdir(path):
        return read_slide if path.rstrip("/\\").endswith(".cmrcnet") or _has_dicom(path) or _is_zarr(path) else None
    return read_slide if ends_in(path, SLIDES) else None


def _has_dicom(folder: str) -> bool:
    """Tell whether one of the first visible files of a folder is DICOM, which often has no suffix."""
    with os.scandir(folder) as entries:
        names = sorted(entry.path for entry in entries if entry.is_file() and not entry.name.startswith("."))
    return any(map(_is_dicom, sorted(names, key=lambda name: not ends_in(name, (".dcm",)))[:FILES_LOOKED_AT]))


def _is_zarr(folder: str) -> bool:
    """Tell whether a folder is an OME-Zarr picture, importing what can tell only where it may be one."""
    if not any(os.path.isfile(os.path.join(folder, name)) for name in ("zarr.json", ".zattrs")):
        return False
    from napari_cmrcnet.slides.zarr_source import is_ome_zarr

    return is_ome_zarr(Path(folder))


def _is_dicom(file: str) -> bool:
    with open(file, "rb") as stream:
        return stream.read(DICOM_START)[128:] == b"DICM"


def read_slide(path: str, **_: Any) -> list[Any]:
    """Open a slide as a layer that reads what is looked at.

    What cannot be opened is said in one sentence. It is not raised: napari would ask for another reader, and bury
    the sentence under its own.

    Returns
    -------
    list of (levels, settings, "image")
        The layer, as `slide_layer` gives it, and those of links to the slide that were dropped while it was opened;
        napari's mark for "no layer" where it cannot be opened, or is being opened.
    """
    from napari.utils.notifications import show_error, show_info, show_warning

    if path.rstrip("/\\").endswith(".cmrcnet"):
        show_error(
            f"{path} is a checkpoint, not a slide; choose it in the Predict panel (Plugins > CMRCNet > Predict)."
        )
        return NOTHING
    file = os.path.realpath(path)
    if path in _opening.get(file, ()):
        show_error(f"{path} is still being opened; wait until its lower resolutions are computed.")
        return NOTHING
    if file in _opening:
        _opening[file].append(path)
        return NOTHING
    _opening[file] = [path]
    try:
        slide, layer = _open(path)
    except UserError as error:
        show_error(str(error))
        return NOTHING
    except _CancelledError:
        show_info(f"{path} was not opened, as you asked.")
        return NOTHING
    finally:
        links = _opening.pop(file)[1:]
    for note in slide.notes:
        show_warning(f"{Path(path).name}: {note}")
    if slide.mpp is None:
        note = f" ({slide.mpp_note})" if slide.mpp_note else ""
        show_warning(f"{path} does not give its pixel size in µm{note}. The layer is in pixels.")
    return [layer, *(each for link in links for each in read_slide(link) if each not in NOTHING)]


def _open(path: str) -> "tuple[Slide, LayerData]":
    """Open a slide; where a pyramid must be built first, with napari's progress bar, which keeps the window alive."""
    from napari.utils.notifications import show_info
    from napari.utils.progress import cancelable_progress

    from napari_cmrcnet.slides.slide import open_slide
    from napari_cmrcnet.viewer.slide_layer import slide_layer

    bar: cancelable_progress | None = None

    def report(progress: "Progress") -> None:
        nonlocal bar
        if bar is None:
            show_info(f"{path} has no lower resolutions. They are computed now, once. See “activity” below.")
            bar = cancelable_progress(total=100, desc=f"{progress.step} of {Path(path).name}")
        bar.update(100 * progress.done // max(progress.total, 1) - bar.n)  # napari handles events meanwhile
        if bar.is_canceled:
            raise _CancelledError

    try:
        slide = open_slide(path, report)
    finally:
        if bar is not None:
            bar.close()
    return slide, slide_layer(slide, slide.mpp)
