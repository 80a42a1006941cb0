"""The napari side: the plugin is found, a real window draws, and nothing heavy is loaded before it is used."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def test_manifest_is_valid_and_found() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-cmrcnet")
    assert manifest.display_name == "CMRCNet"


def test_a_real_napari_window_draws_an_image(make_napari_viewer_proxy: Callable[..., Any]) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = (200, 80, 160)
    viewer.add_image(image, rgb=True, scale=(0.5, 0.5), units=("um", "um"))
    drawn = viewer.screenshot(canvas_only=True, flash=False)[..., :3].reshape(-1, 3)
    assert (drawn == (200, 80, 160)).all(axis=1).mean() > 0.05


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, napari_cmrcnet; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "scanpy", "timm", "matplotlib", "napari", "anndata", "numpy", "qtpy"} & set(loaded)
