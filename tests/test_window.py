"""The napari side: the plugin is found, a real window draws, and nothing heavy is loaded before it is used."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from napari_cmrcnet.viewer.layers import SectionLayers
from napari_cmrcnet.viewer.registry import layers_of, session_of
from one_prediction import Known, look_at


def test_manifest_is_valid_and_found() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-cmrcnet")
    assert manifest.display_name == "CMRCNet"


def test_a_real_napari_window_draws_an_image(napari_window: Any) -> None:
    viewer = napari_window
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = (200, 80, 160)
    viewer.add_image(image, rgb=True, scale=(0.5, 0.5), units=("um", "um"))
    drawn = viewer.screenshot(canvas_only=True, flash=False)[..., :3].reshape(-1, 3)
    assert (drawn == (200, 80, 160)).all(axis=1).mean() > 0.05


def test_a_colour_bar_on_the_canvas_has_a_number_at_each_end(napari_window: Any) -> None:
    """Alone, napari has only round ones; other layers keep those."""
    from napari_cmrcnet.viewer.spot_layer import show_legends

    viewer = napari_window
    session_of(viewer)  # as every panel does
    layer, other = (
        viewer.add_points(
            np.zeros((2, 2)),
            face_color="white",
            face_colormap="viridis",
            face_contrast_limits=(3.21, 4.93),
            metadata=metadata,
        )
        for metadata in ({"cmrcnet": {}}, {})
    )
    show_legends(layer)
    show_legends(other)
    assert _numbers(viewer, other) == ["4"]
    for limits, numbers in (
        ((3.21, 4.93), ["3.21", "3.50", "4.00", "4.50", "4.93"]),
        ((0.0, 0.5), ["0.0", "0.2", "0.4", "0.5"]),
    ):
        layer.face_contrast_limits = limits
        assert _numbers(viewer, layer) == numbers


def test_the_dark_name_of_a_region_has_a_pale_halo_on_dark_tissue(napari_window: Any) -> None:
    from shapely.geometry import box

    from napari_cmrcnet.sections.regions import Region

    viewer = napari_window
    viewer.add_image(np.full((200, 300, 3), (60, 20, 80), np.uint8), rgb=True)
    layers_of(viewer).regions.draw([Region("Tumour edge", "Tumor", box(50, 80, 250, 160))], None, 1.0)
    drawn = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    assert (drawn.min(axis=2) > 200).sum() > 100


def test_the_box_of_the_title_is_as_wide_as_its_letters(
    napari_window: Any, known: dict[str, Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = napari_window
    viewer.window.resize(1400, 700)
    monkeypatch.setattr(SectionLayers, "title", ", ".join(["outs folder of Space Ranger"] * 4))
    look_at(viewer, known["C"])
    drawn = viewer.screenshot(canvas_only=True, flash=False)[:24, :, :3]
    letters = np.flatnonzero((drawn.min(axis=2) > 200).any(axis=0))
    visuals = viewer.__wrapped__.window._qt_viewer.canvas._viewer_overlay_to_visual
    (title,) = visuals[viewer.__wrapped__.canvas.overlays.text]
    assert 400 < letters.max() - letters.min() < title.box.width


def _numbers(viewer: Any, layer: Any) -> list[str]:
    canvas = viewer.__wrapped__.window._qt_viewer.canvas
    drawn = canvas._layer_overlay_to_visual[layer.__wrapped__]
    (bar,) = (visual for visual in drawn.values() if hasattr(visual.node, "ticks"))
    return bar.node.ticks._text.text  # type: ignore[no-any-return]


def test_a_worker_imports_timm_beside_a_live_canvas() -> None:
    """Without the guard the process dies where Mesa's OpenGL driver is in use (`viewer.runtime.guard_triton`).

    What is done to keep the window alive meanwhile leaves torch and the garbage collector as they should be.
    """
    code = """
import gc, sys, time
import napari, numpy as np
from qtpy.QtWidgets import QApplication
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.viewer.runtime import import_torch
from napari_cmrcnet.widgets.jobs import JobBar

def work():
    yield Progress("Importing", 0, 0)
    import_torch()
    import torch, timm
    assert torch.nn.functional.conv2d(torch.ones(1, 3, 8, 8), torch.ones(2, 3, 3, 3)).sum() == 2 * 27 * 36
    assert gc.get_freeze_count() == 0
    return timm.__version__

viewer = napari.Viewer()
viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True)
viewer.screenshot(flash=False)
assert not {"torch", "timm"} & set(sys.modules)
bar, results = JobBar(), []
viewer.window.add_dock_widget(bar)
bar.start(work(), results.append)
end = time.monotonic() + 240
while bar.busy and time.monotonic() < end:
    QApplication.processEvents()
    time.sleep(0.01)
viewer.screenshot(flash=False)
assert gc.isenabled()
print("imported", *results)
viewer.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "imported 1." in done.stdout


def test_a_closed_window_is_not_collected_by_a_job() -> None:
    """Its OpenGL context would go in the thread of the worker, and the next widget that goes end the process."""
    code = """
import gc, sys, threading, time
import napari, numpy as np
from qtpy.QtWidgets import QApplication, QWidget
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.widgets.jobs import JobBar

app = QApplication([])

def work():
    kept = []
    for step in range(40):
        yield Progress("Working", step, 40)
        kept.extend([[]] for _ in range(30_000))
        time.sleep(0.01)

bar = JobBar()
gc.collect()
gc.disable()
viewer = napari.Viewer(show=False)
viewer.add_image(np.zeros((64, 64)))
viewer.close()
del viewer
QApplication.processEvents()
threads = set()
gc.callbacks.append(lambda phase, info: threads.add(threading.current_thread()))
gc.enable()
bar.start(work(), print)
while bar.busy:
    QApplication.processEvents()
    time.sleep(0.01)
assert threads == {threading.main_thread()}, threads
assert gc.isenabled()
for _ in range(3):
    widget = QWidget()
    widget.show()
    QApplication.processEvents()
    widget.close()
    widget.deleteLater()
    del widget
    QApplication.processEvents()
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "alive" in done.stdout


def test_a_script_that_ends_without_an_event_loop_waits_for_its_job() -> None:
    code = """
import threading, time
import napari
from qtpy.QtWidgets import QApplication
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.widgets.jobs import run_in_window

began = threading.Event()

def work():
    began.set()
    try:
        for step in range(10_000):
            yield Progress("Working", step, 10_000)
            time.sleep(0.01)
            sorted(range(10_000))
    finally:
        print("closed at step", step, flush=True)

viewer = napari.Viewer(show=False)
run_in_window(viewer, work(), print, "Working")
while not began.is_set():
    QApplication.processEvents()  # a job begins once the window is drawn
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "closed at step" in done.stdout
    assert int(done.stdout.split()[-1]) < 5000


def test_opening_the_sample_waits_for_nothing_heavy_in_the_window() -> None:
    """Its slide is shown at once; torch comes with the worker that predicts."""
    code = (
        "import sys; from napari_cmrcnet.evaluation.demo import sample_parts; sample_parts(); "
        "import napari_cmrcnet.widgets.open_samples; print(*{m.split('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "scanpy", "anndata"} & set(loaded)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, napari_cmrcnet; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "scanpy", "timm", "matplotlib", "napari", "anndata", "numpy", "qtpy"} & set(loaded)
