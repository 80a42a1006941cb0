"""How a picture asks to be turned for looking at it: the tag Orientation of TIFF and EXIF, 1 (as stored) to 8.

Pixels stay as they are stored, and positions are counted in them: so do OpenSlide, tifffile, and who reads positions
beside a slide. A prediction, a region and a spot then mean the same place whatever opens the slide. Positions that fit
only the turned picture can be meant in no other way, and are turned back.
"""

import io
from contextlib import suppress

import numpy as np
import tifffile
from numpy.typing import NDArray

TAG = 274
STORED = 1
IN_WORDS = {
    2: "mirrored left to right",
    3: "turned by 180°",
    4: "mirrored top to bottom",
    5: "mirrored along its diagonal",
    6: "turned by 90° to the right",
    7: "mirrored along its other diagonal",
    8: "turned by 90° to the left",
}
HEADER = 2**16 + 2**8  # bytes of a JPEG's first segments


def exif_orientation(data: bytes) -> int:
    """Return the orientation in the EXIF data of a JPEG or PNG file, `STORED` where there is none.

    Exif 3.0, 4.5.2 (in JPEG's APP1); PNG 3, 11.3.4.5 (in chunk eXIf). Its first directory is that of a TIFF file.
    """
    png = data[:4] == b"\x89PNG"
    at = data.find(b"eXIf", 0, HEADER) + 4 if png else data.find(b"Exif\0\0", 0, HEADER) + 6
    tiff = data[at : at + HEADER] if at >= 10 else b""
    with suppress(Exception), tifffile.TiffFile(io.BytesIO(tiff)) as directories:  # no more than a wish is lost
        return known(directories.pages.first.tags.valueof(TAG))
    return STORED


def known(value: object) -> int:
    """Return a tag's value where it is an orientation, else `STORED`."""
    return value if isinstance(value, int) and value in IN_WORDS else STORED


def said_of(orientation: int) -> str:
    """Say that a picture asks to be turned, and is not; an empty text where it does not ask."""
    if orientation == STORED:
        return ""
    return (
        f"Its orientation tag asks for it to be shown {IN_WORDS[orientation]}. It is shown as stored, and positions "
        "are counted in the pixels as stored, as slide readers do."
    )


def as_stored(xy: NDArray[np.float64], orientation: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return positions in the turned picture as positions in the stored one.

    Parameters
    ----------
    xy : (n, 2)
        (x, y) in pixels of the picture as its tag asks for it to be shown.
    orientation : int
        The tag.
    shape : (int, int)
        Height and width of the stored picture.
    """
    height, width = shape
    x, y = (xy[:, 1], xy[:, 0]) if orientation >= 5 else (xy[:, 0], xy[:, 1])
    if orientation in (2, 3, 7, 8):
        x = width - x
    if orientation in (3, 4, 6, 7):
        y = height - y
    return np.column_stack([x, y])
