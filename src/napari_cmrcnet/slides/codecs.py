"""Tiles of TIFF files that are compressed as whole pictures: WebP, JPEG XL, JPEG XR, PNG, LERC."""

from typing import Any

import imagecodecs
import numpy as np

CODECS = {
    50001: "webp", 34927: "webp", 50002: "jpegxl", 52546: "jpegxl", 22610: "jpegxr", 34934: "jpegxr", 34933: "png",
    34887: "lerc",
}  # fmt: skip
LERC_PARAMETERS = 50674  # version, and by what the tile is compressed once more
JPEGXR_ENTRIES = 50
INSIDE_LERC = {1: "zlib", 2: "zstd"}


def is_picture(compression: int) -> bool:
    """Tell whether tiles are compressed by one of these, and the installed imagecodecs can decode it."""
    name = CODECS.get(compression)
    return name is not None and bool(getattr(imagecodecs, name.upper()).available)


def decode_picture(data: bytes, key: Any, tile: tuple[int, int]) -> Any:
    """Decode a tile into an array of its own size, so that none that claims to be larger is ever decoded.

    Parameters
    ----------
    data : bytes
        The tile.
    key : tifffile.TiffPage
        The page that it is of.
    tile : (int, int)
        Height and width of a tile.

    Returns
    -------
    array (height, width, samples)
        At the image's right and bottom edge it may be as large as what is left of the image.

    Raises
    ------
    ValueError and others of the codecs
        If it is damaged, or of another size.
    """
    name = CODECS[int(key.compression)]
    samples = key.samplesperpixel if key.planarconfig == 1 else 1
    extra: dict[str, Any] = {"hasalpha": True} if name == "webp" and samples == 4 else {}
    parameters = key.tags.valueof(LERC_PARAMETERS)
    if name == "lerc" and isinstance(parameters, tuple) and len(parameters) > 1 and parameters[1] in INSIDE_LERC:
        most = tile[0] * tile[1] * samples * key.dtype.itemsize + 2**16
        data = getattr(imagecodecs, f"{INSIDE_LERC[parameters[1]]}_decode")(data, out=most)
    if name == "jpegxr":
        _check_jpegxr(data)
    decode = getattr(imagecodecs, f"{name}_decode")
    left = key.imagelength % tile[0], key.imagewidth % tile[1]
    sizes = [(height, width) for height in (tile[0], left[0]) for width in (tile[1], left[1]) if height and width]
    problem: Exception | None = None
    for size in sizes:
        out = np.empty(size if samples == 1 else (*size, samples), key.dtype)
        try:
            return decode(data, out=out, **extra).reshape(*size, samples)
        except ValueError as error:  # of another size
            problem = problem or error
    assert problem is not None
    raise problem


def _check_jpegxr(data: bytes) -> None:
    """Refuse a directory with more entries than there are kinds (ITU T.832, annex A): jxrlib prints a line for each."""
    at = int.from_bytes(data[4:8], "little")
    if int.from_bytes(data[at : at + 2], "little") > JPEGXR_ENTRIES:
        raise ValueError("its JPEG XR directory is damaged")
