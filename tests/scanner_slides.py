"""Slides as scanners write them, made for tests."""

from pathlib import Path

import numpy as np
import tifffile

NM = 500  # a pixel


def write_scn(path: Path, size: tuple[int, int] = (1024, 768), corner: tuple[int, int] = (1536, 1024)) -> Path:
    """Write a Leica SCN whose scanned part, with tissue at x 256–768 and y 256–512 of it, lies in a larger image.

    Parameters
    ----------
    path : Path
        The file.
    size, corner : (int, int)
        Width and height of the scanned part, and its place (x, y) in an image of 4096 × 3072 pixels.
    """
    width, height = size
    scan = np.full((height, width, 3), 235, np.uint8)
    scan[256:512, 256:768] = (200, 60, 120)
    images = {"macro": (np.full((192, 256, 3), 250, np.uint8), (4096, 3072), (0, 0), "0.6", 1)}
    images["scan"] = (scan, size, corner, "20", 2)
    described, ifd = "", 0
    for name, (pixels, (across, down), (x, y), objective, levels) in images.items():
        dimensions = "".join(
            f'<dimension sizeX="{pixels.shape[1] // 4**level}" sizeY="{pixels.shape[0] // 4**level}" r="{level}" '
            f'ifd="{ifd + level}"/>'
            for level in range(levels)
        )
        ifd += levels
        described += (
            f'<image name="{name}" uuid="urn:uuid:00000000-0000-0000-0000-00000000000{ifd}">'
            '<creationDate>2020-01-01T00:00:00Z</creationDate><device model="Leica SCN400;Leica SCN" version="1"/>'
            f'<pixels sizeX="{pixels.shape[1]}" sizeY="{pixels.shape[0]}">{dimensions}</pixels>'
            f'<view sizeX="{across * NM}" sizeY="{down * NM}" offsetX="{x * NM}" offsetY="{y * NM}" spacingZ="0"/>'
            f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{4096 * NM}" sizeY="{3072 * NM}">{described}</collection></scn>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for pixels, description in ((images["macro"][0], xml), (scan, None), (scan[::4, ::4], None)):
            tiff.write(
                pixels,
                description=description,
                photometric="rgb",
                tile=(256, 256),
                compression="jpeg",
                compressionargs={"level": 95},
                metadata=None,
                software=False,
            )
    return path
