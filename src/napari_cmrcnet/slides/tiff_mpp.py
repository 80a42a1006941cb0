"""What a TIFF file says of its pixels, and of their size in the ways in which software writes it."""

import re
from typing import Any
from xml.etree import ElementTree

from napari_cmrcnet.slides.source import number_in

MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "in": 25_400.0}


def mpp_claims(ome: ElementTree.Element | None, page: Any) -> list[tuple[str, float, float]]:
    """List what a file says of the pixel size: OME-XML, an Aperio-like description, ImageJ's unit, TIFF resolution.

    What is not a number claims nothing: the pixels are sound all the same.

    Parameters
    ----------
    ome : Element or None
        As `ome_pixels` gives it.
    page : tifffile.TiffPage
        The slide's full resolution.

    Returns
    -------
    list of (source, mpp along x, mpp along y)
        As `judge_mpp` takes it.
    """
    claims = _ome_claims(ome)
    if match := re.search(r"\|\s*MPP\s*=\s*([^|]+)", page.description):
        mpp = number_in(match[1])
        claims += [("Aperio tag", mpp, mpp)] if mpp else []
    x, y = (_rational(page, name) for name in ("XResolution", "YResolution"))
    if x and y and (unit := _imagej_unit(page.description)):
        claims.append(("ImageJ unit", unit / x, unit / y))
    elif x and y and (per_unit := {2: 25_400.0, 3: 10_000.0}.get(_plain_value(page, "ResolutionUnit", 2))):
        claims.append(("TIFF resolution tag", per_unit / x, per_unit / y))
    return claims


def _plain_value(page: Any, name: str, default: int) -> Any:
    """Return a tag's value, or 0 for one that is no number: damaged files have tags of odd types."""
    value = page.tags.valueof(name, default)
    return value if isinstance(value, int) else 0


def _rational(page: Any, name: str) -> float:
    """Return pixels per unit, 0 where the tag is not there or no fraction."""
    value = page.tags.valueof(name)
    if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) and part > 0 for part in value)):
        return 0.0
    return float(value[0] / value[1])


def _imagej_unit(description: str) -> float | None:
    """Return how many µm the unit of an ImageJ file has, in which its resolution is given; None without one."""
    if not description.startswith("ImageJ="):
        return None
    match = re.search(r"^unit=(.+)$", description, re.MULTILINE)
    return MICROMETRES.get(match[1].strip().replace("\\u00B5", "µ").replace("micron", "um")) if match else None


def ome_pixels(xml: str, width: int, height: int) -> ElementTree.Element | None:
    """Return what OME-XML says of the pixels of the image of this size; None where there is none, or it is damaged."""
    if not xml.rstrip("\0 \r\n").endswith("OME>"):
        return None
    try:
        images = [each for each in ElementTree.fromstring(xml).iter() if each.tag.rpartition("}")[2] == "Pixels"]
    except (ElementTree.ParseError, ValueError):
        return None
    size = (str(width), str(height))
    return next((each for each in images if (each.get("SizeX"), each.get("SizeY")) == size), None)


def _ome_claims(pixels: ElementTree.Element | None) -> list[tuple[str, float, float]]:
    """Read PhysicalSizeX and Y of OME-XML, whose unit is µm unless it says another."""
    if pixels is None:
        return []
    sizes = []
    for axis in "XY":
        unit = MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        length = number_in(pixels.get(f"PhysicalSize{axis}"))
        if unit is None or length is None:
            return []
        sizes.append(length * unit)
    return [("OME-XML PhysicalSizeX", sizes[0], sizes[1])]
