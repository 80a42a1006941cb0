"""Colours as colour-blind eyes see them: maps stay even in lightness, and what has a colour each is told apart.

How they are seen is simulated after Machado, Oliveira and Fernandes (IEEE TVCG 15:1291, 2009), for eyes without one
kind of cone. Differences are CIEDE2000; below about 10 two colours are hard to match with a legend.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_cmrcnet.evaluation import plots_correlation
from napari_cmrcnet.evaluation.blend import blend
from napari_cmrcnet.evaluation.plot_style import style_on
from napari_cmrcnet.sections.classes import NO_CLASS, Classes
from napari_cmrcnet.sections.regions import CLASSES, class_colour
from napari_cmrcnet.viewer.coloring import DIVERGING
from napari_cmrcnet.viewer.display_settings import COLORMAPS

EYES = {
    "all cones": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
LEAST = 10.0
eyes = pytest.mark.parametrize("eye", EYES)


def seen(colours: Any, eye: str) -> np.ndarray:
    """Return colours (n, 3), 0 to 1, in CIELAB as eyes see them."""
    rgb = np.asarray(colours, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ EYES[eye].T
    linear = np.clip(linear, 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(np.clip(rgb, 0, 1)[None])[0])


def least_difference(colours: Any, eye: str) -> float:
    lab = seen(colours, eye)
    return min(float(deltaE_ciede2000(one, other)) for one, other in combinations(lab, 2))


@eyes
def test_two_genes_on_one_map_are_told_apart(eye: str) -> None:
    low, high = np.array([0, 1, 0, 1], np.float32), np.array([0, 0, 1, 1], np.float32)
    colours = blend([low, high], [(0, 1), (0, 1)])
    assert np.array_equal(colours[0], [1, 1, 1])
    assert colours[3].max() < 0.2
    assert least_difference(colours, eye) > LEAST


@eyes
@pytest.mark.parametrize("name", COLORMAPS)
def test_a_map_gets_lighter_from_low_to_high(name: str, eye: str) -> None:
    lightness = seen(colormaps[name](np.linspace(0, 1, 256))[:, :3], eye)[:, 0]
    assert np.diff(lightness).min() > 0
    assert lightness[-1] - lightness[0] > 60


@eyes
@pytest.mark.parametrize("name", [*DIVERGING.values(), plots_correlation._COLOURS])
def test_a_diverging_map_is_lightest_in_its_middle_and_its_sides_are_told_apart(name: str, eye: str) -> None:
    lab = seen(colormaps[name](np.linspace(0, 1, 257))[:, :3], eye)
    assert np.diff(lab[:129, 0]).min() > -0.1
    assert np.diff(lab[128:, 0]).max() < 0.1
    sides = [float(deltaE_ciede2000(lab[128 - step], lab[128 + step])) for step in range(32, 129)]
    assert min(sides) > 15


@eyes
def test_classes_are_told_apart(eye: str) -> None:
    of_spots = Classes("a", tuple("ABCDEFGHIJKL"), np.zeros(1, np.int64)).colours
    of_regions = (*CLASSES.values(), class_colour(""))
    for colours in ((*of_spots, NO_CLASS), of_regions):
        assert least_difference(np.array(colours) / 255, eye) > LEAST
    for style in (style_on("#ffffff", "#1a1a1a"), style_on("#262930", "#f0f1f2")):
        assert least_difference([to_rgb(colour) for colour in style.sets.values()], eye) > LEAST


@eyes
@pytest.mark.qt
def test_sections_of_the_evidence_are_told_apart(eye: str) -> None:
    from napari_cmrcnet.widgets.section_shares import HUES, OTHER

    assert least_difference([to_rgb(colour) for colour in (*HUES, OTHER)], eye) > LEAST
