"""The colour of the tissue under the spots, and how far it is from another section's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.stain import FAR_STAIN, colour_distance, stain_distance, tissue_colour

EOSIN = (220, 120, 170)
EOSIN_LAB = (62.97, 44.89, -9.22)  # by the formulas of IEC 61966-2-1 and CIE 15, without skimage


def section(overview: NDArray[np.uint8], xy: list[list[float]], downsample: int = 10) -> Any:
    """Stand for a section whose slide shows an overview."""
    shape = (overview.shape[0] * downsample, overview.shape[1] * downsample)
    return SimpleNamespace(
        slide=SimpleNamespace(shape=shape, thumbnail=lambda _: overview), xy=np.array(xy, float), mpp=0.5
    )


def test_it_is_the_colour_under_the_spots_and_nowhere_else() -> None:
    overview = np.full((100, 80, 3), (90, 60, 150), np.uint8)
    overview[50:90, 20:60] = EOSIN
    assert tissue_colour(section(overview, [[350, 650], [450, 750]])) == pytest.approx(EOSIN_LAB, abs=0.05)


def test_glass_between_the_tissue_does_not_count() -> None:
    overview = np.full((100, 80, 3), EOSIN, np.uint8)
    overview[::2] = 240
    assert tissue_colour(section(overview, [[400, 500]])) == pytest.approx(EOSIN_LAB, abs=0.05)


def test_spots_on_glass_alone_have_the_colour_of_glass() -> None:
    white = np.full((100, 80, 3), 255, np.uint8)
    assert tissue_colour(section(white, [[400, 500]])) == pytest.approx((100, 0, 0), abs=0.02)


def test_spots_at_the_edge_of_the_slide() -> None:
    overview = np.full((100, 80, 3), EOSIN, np.uint8)
    assert tissue_colour(section(overview, [[0, 0], [800, 1000], [-5, 1200]])) == pytest.approx(EOSIN_LAB, abs=0.05)


def test_the_nearest_training_section_is_named() -> None:
    colours = {"S1": (60.0, 20.0, -10.0), "S2": (50.0, 20.0, -10.0), "S3": (60.0, 40.0, 0.0)}
    assert stain_distance((50.0, 23.0, -14.0), colours) == ("S2", 5.0)
    assert stain_distance((50.0, 23.0, -14.0), {}) is None


def test_a_darker_copy_of_a_section_is_told(
    tmp_path: Path, write_section: Callable[..., tuple[Path, Path]], open_small: Callable[..., Section]
) -> None:
    light = open_small(*write_section(tmp_path, "light"))
    overview = light.slide.thumbnail(1024)
    dark = replace(light, slide=SimpleNamespace(shape=light.slide.shape, thumbnail=lambda _: overview // 2))  # type: ignore[arg-type]
    assert colour_distance(tissue_colour(light), tissue_colour(dark)) > FAR_STAIN


def test_serial_sections_are_near_and_a_slide_of_another_laboratory_is_far(real_data: Path) -> None:
    colours = {}
    for name in ("C2", "C3", "C4", "C5"):
        with open_section(real_data / f"her2st/{name}.tif", real_data / f"her2st/{name}.h5ad").slide as slide:
            colours[name] = tissue_colour(open_section(slide, real_data / f"her2st/{name}.h5ad"))
    held_out = colours.pop("C5")
    nearest = stain_distance(held_out, colours)
    assert nearest is not None
    assert nearest[1] < FAR_STAIN / 2
    with (other := open_section(real_data / "slides/CMU-1-Small-Region.svs")).slide:
        distance = stain_distance(tissue_colour(other), colours)
    assert distance is not None
    assert distance[1] > 1.5 * FAR_STAIN
