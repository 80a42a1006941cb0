"""Slides as scanners write them, made for tests."""

import struct
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


def write_czi(path: Path, planes: list[np.ndarray], tile: int = 256, mpp: float = 0.5) -> Path:
    """Write a Zeiss CZI without compression: one level, tiles that meet, and a focal plane for each image.

    Parameters
    ----------
    path : Path
        The file.
    planes : list of uint8 (h, w, 3)
        The focal planes.
    tile : int
        Side of its tiles.
    mpp : float
        µm per pixel.
    """
    height, width, _ = planes[0].shape
    xml = (
        "<ImageDocument><Metadata><Information><Image>"
        f"<PixelType>Bgr24</PixelType><SizeX>{width}</SizeX><SizeY>{height}</SizeY><SizeC>1</SizeC>"
        f"<SizeZ>{len(planes)}</SizeZ></Image></Information><Scaling><Items>"
        + "".join(f'<Distance Id="{axis}"><Value>{mpp * 1e-6}</Value></Distance>' for axis in "XY")
        + "</Items></Scaling></Metadata></ImageDocument>"
    ).encode()
    with open(path, "wb") as stream:
        stream.write(_segment("ZISRAWFILE", bytes(512)))
        entries = b""
        for z, plane in enumerate(planes):
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    pixels = np.ascontiguousarray(plane[y : y + tile, x : x + tile, ::-1])
                    entry = _entry(stream.tell(), (x, y), pixels.shape, z)
                    entries += entry
                    data = pixels.tobytes()
                    head = (struct.pack("<iiq", 0, 0, len(data)) + entry).ljust(256, b"\0")
                    stream.write(_segment("ZISRAWSUBBLOCK", head + data))
        directory = stream.tell()
        count = len(planes) * -(-height // tile) * -(-width // tile)
        stream.write(_segment("ZISRAWDIRECTORY", struct.pack("<i124x", count) + entries))
        metadata = stream.tell()
        stream.write(_segment("ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml))
        stream.seek(0)
        about = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, bytes(16), bytes(16), 0, directory, metadata, 0, 0)
        stream.write(_segment("ZISRAWFILE", about.ljust(512, b"\0")))
    return path


def _segment(name: str, data: bytes) -> bytes:
    padded = data.ljust(-(-len(data) // 32) * 32, b"\0")
    return struct.pack("<16sqq", name.encode(), len(padded), len(data)) + padded


def _entry(position: int, corner: tuple[int, int], shape: tuple[int, ...], z: int) -> bytes:
    """Return the directory's entry of a tile, of schema DV and pixel type Bgr24."""
    sizes = {"X": (corner[0], shape[1]), "Y": (corner[1], shape[0]), "C": (0, 1), "Z": (z, 1)}
    dimensions = (
        struct.pack("<4siifi", axis.encode(), start, size, float(start), size) for axis, (start, size) in sizes.items()
    )
    return struct.pack("<2siqiiB5si", b"DV", 3, position, 0, 0, 0, bytes(5), len(sizes)) + b"".join(dimensions)
