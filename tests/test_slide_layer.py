"""A slide in napari: what is looked at is read, and nothing else; what is no slide is told at once."""

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import yaml
from napari.components import ViewerModel

from napari_cmrcnet.common import suffixes
from napari_cmrcnet.slides.slide import Slide, open_slide
from napari_cmrcnet.viewer import reader, slide_layer
from napari_cmrcnet.viewer.slide_layer import SlideLevel, slide_path

TILE = 64


pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the user was told: severity and sentence."""
    from napari.utils.notifications import notification_manager

    messages: list[tuple[str, str]] = []
    monkeypatch.setattr(
        notification_manager, "dispatch", lambda said: messages.append((str(said.severity), said.message))
    )
    return messages


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def write(path: Path, full: np.ndarray, levels: int = 3, **options: Any) -> list[np.ndarray]:
    """Write a pyramid without loss at 0.5 µm per pixel and return its levels."""
    pyramid = [full[:: 2**i, :: 2**i] for i in range(levels)]
    shared = {"tile": (TILE, TILE), "photometric": "rgb", "metadata": None, **options}
    with tifffile.TiffWriter(path) as tiff:
        for i, level in enumerate(pyramid):
            tiff.write(level, subfiletype=int(i > 0), resolution=(20_000, 20_000), resolutionunit=3, **shared)
    return pyramid


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    write(tmp_path / "slide.tif", picture(300, 420))
    with open_slide(tmp_path / "slide.tif") as opened:
        yield opened


@pytest.mark.parametrize(
    "key",
    [
        ...,
        7,
        -1,
        slice(2, 9),
        (slice(None), slice(3, 40, 3)),
        (slice(100, 230), slice(60, 333), slice(None)),
        (4, 5),
        (slice(10, 20), slice(0, 9), 1),
        (..., 2),
        (3, ..., 0),
        (slice(-4, None), -70),
        (slice(5, 5),),
        (slice(290, 999), slice(400, 999)),
        (np.int64(3), slice(np.int64(4), np.int64(9))),
        slice(None, None, -1),
        (slice(200, 3, -7), slice(9, 400, -1)),
    ],
    ids=str,
)
def test_a_level_is_indexed_as_an_array_is(slide: Slide, key: Any) -> None:
    pixels = picture(300, 420)[key]
    read = SlideLevel(slide, 0)[key]
    assert read.shape == pixels.shape
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("key", [300, (0, 0, 0, 0), (..., ...)], ids=str)
def test_what_a_level_cannot_give_is_an_index_error(slide: Slide, key: Any) -> None:
    with pytest.raises(IndexError):
        SlideLevel(slide, 0)[key]


def test_napari_reads_only_the_coarsest_level_to_add_a_slide(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = SlideLevel.__getitem__
    monkeypatch.setattr(SlideLevel, "__getitem__", lambda level, key: (read.append(level._level), whole(level, key))[1])
    levels, settings, kind = slide_layer.slide_layer(slide, slide.mpp)
    layer = ViewerModel().add_image(levels, **settings)
    assert kind == "image"
    assert set(read) == {2}
    assert layer.multiscale
    assert layer.rgb
    np.testing.assert_array_equal(np.asarray(layer.data[1]), picture(300, 420)[::2, ::2])


def test_a_slide_is_placed_in_micrometres_and_knows_its_file(slide: Slide) -> None:
    levels, settings, _ = slide_layer.slide_layer(slide, slide.mpp)
    layer = ViewerModel().add_image(levels, **settings)
    assert layer.name == "slide"
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert slide_path(layer) == slide.path
    assert layer.metadata["cmrcnet"]["mpp_source"] == "TIFF resolution tag"


def test_a_picture_that_napari_itself_opened_is_known_by_its_file(tmp_path: Path, npe2pm: Any) -> None:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("napari"))
    write(tmp_path / "other.tif", picture(64, 64), levels=1)
    viewer = ViewerModel()
    (layer,) = viewer.open(tmp_path / "other.tif", plugin="napari")
    assert slide_path(layer) == tmp_path / "other.tif"
    assert slide_path(viewer.add_image(picture(64, 64), rgb=True)) is None
    assert slide_path(viewer.add_points([[1, 2]])) is None
    assert slide_path(None) is None


def test_a_slide_closes_its_file_with_its_last_layer(tmp_path: Path) -> None:
    """Else Windows would not let the user move or replace it."""
    write(tmp_path / "slide.tif", picture(128, 128), levels=1)
    viewer = ViewerModel()

    def add() -> Any:
        ((levels, settings, _),) = reader.read_slide(str(tmp_path / "slide.tif"))
        viewer.add_image(levels, **settings)
        return levels[0]._slide.source._tiff.filehandle

    file = add()
    assert not file.closed
    viewer.layers.clear()
    viewer.add_image(picture(8, 8), rgb=True)  # napari remembers the layer that was selected last
    gc.collect()
    assert file.closed


def test_a_large_coarsest_level_gets_an_overview_once(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_layer, "OVERVIEW", 50)  # the coarsest level has 105 columns
    levels, _, _ = slide_layer.slide_layer(slide, None)
    again, _, _ = slide_layer.slide_layer(slide, None)
    assert [level.shape for level in levels] == [(300, 420, 3), (150, 210, 3), (75, 105, 3), (36, 50, 3)]
    assert again[-1] is levels[-1]


def test_a_strip_as_wide_as_the_slide_is_not_read_whole(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "wide.tif", picture(20, 5000), photometric="rgb", rowsperstrip=4, metadata=None)
    with open_slide(tmp_path / "wide.tif") as slide:
        assert SlideLevel(slide, 0).chunks == (4, 1024, 3)


def test_damaged_tiles_are_white_in_the_canvas(tmp_path: Path) -> None:
    write(tmp_path / "damaged.tif", picture(128, 128), levels=1, compression="jpeg")
    with tifffile.TiffFile(tmp_path / "damaged.tif") as tiff:
        offset = tiff.pages[0].dataoffsets[1]
    with open(tmp_path / "damaged.tif", "r+b") as stream:
        stream.seek(offset)
        stream.write(bytes(200))
    with open_slide(tmp_path / "damaged.tif") as slide:
        pixels = np.asarray(SlideLevel(slide, 0))
    assert (pixels[:TILE, TILE:] == 255).all()
    assert not (pixels[:TILE, :TILE] == 255).all()


def test_the_reader_opens_a_slide_as_a_layer(tmp_path: Path, told: list[tuple[str, str]]) -> None:
    path = str(tmp_path / "slide.TIF")
    write(Path(path), picture(300, 420))
    read = reader.get_slide_reader(path)
    assert read is not None
    ((levels, settings, kind),) = read(path, stack=False)
    assert (kind, settings["scale"], len(levels)) == ("image", (0.5, 0.5), 3)
    assert told == []


def test_what_should_be_known_of_a_slide_is_said(tmp_path: Path, told: list[tuple[str, str]]) -> None:
    grey = {"photometric": "minisblack", "metadata": None, "resolution": (20_000, 20_000), "resolutionunit": 3}
    tifffile.imwrite(tmp_path / "grey.tif", picture(64, 64)[..., 0], **grey)
    assert len(reader.read_slide(str(tmp_path / "grey.tif"))) == 1
    ((severity, sentence),) = told
    assert (severity, sentence[:30]) == ("warning", "grey.tif: The slide is grey, n")


def test_a_slide_without_a_pixel_size_is_shown_in_pixels_and_says_so(
    tmp_path: Path, told: list[tuple[str, str]]
) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", picture(64, 64), photometric="rgb", metadata=None)
    ((_, settings, _),) = reader.read_slide(str(tmp_path / "plain.tif"))
    assert settings["units"] == ("pixel", "pixel")
    assert settings["metadata"]["cmrcnet"]["mpp"] is None
    ((severity, sentence),) = told
    assert severity == "warning"
    assert "plain.tif does not give its pixel size" in sentence


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.svs", b"", "is empty"),
        ("notes.ndpi", b"not a slide" * 40, "is not a slide that can be read"),
        ("gone.tif", None, "does not exist"),
        ("model.cmrcnet", "folder", "is a checkpoint, not a slide; choose it in the Predict panel"),
    ],
)
def test_what_cannot_be_opened_is_told_once_and_adds_nothing(
    tmp_path: Path, told: list[tuple[str, str]], name: str, content: bytes | str | None, words: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    read = reader.get_slide_reader(str(path))
    assert read is not None
    assert read(str(path)) == [(None,)]
    ((severity, sentence),) = told
    assert severity == "error"
    assert sentence.startswith(str(path))
    assert words in sentence


def test_what_napari_asks_us_for_is_what_the_dialogs_offer() -> None:
    manifest = yaml.safe_load(files("napari_cmrcnet").joinpath("napari.yaml").read_text("utf-8"))
    (asked,) = manifest["contributions"]["readers"]
    slides = [suffix for suffix in suffixes.SLIDES if suffix not in suffixes.NAPARI_READS]
    cases = (*suffixes.PREDICTIONS, *suffixes.SECTIONS, *suffixes.TABLES)
    opened = dict.fromkeys((*suffixes.REGIONS, *suffixes.PROJECTS, *cases, *slides, ".cmrcnet"))
    assert asked["filename_patterns"] == [f"*{suffix}" for suffix in opened]
    for name in ("image.btf", "SLIDE.SVS", "a.qptiff"):
        assert reader.get_slide_reader(name) is reader.read_slide


def test_a_folder_is_a_slide_if_its_files_are_dicom(tmp_path: Path) -> None:
    dicom, other, empty = (tmp_path / name for name in ("dicom", "other", "empty"))
    for folder in (dicom, other, empty):
        folder.mkdir()
    (dicom / ".DS_Store").write_bytes(b"x")
    (dicom / "0_checksum.json").write_text("{}")
    (dicom / "1.2.840").write_bytes(bytes(128) + b"DICM")
    (other / "notes.txt").write_text("x")
    assert reader.get_slide_reader(str(dicom)) is reader.read_slide
    assert reader.get_slide_reader(str(other)) is None
    assert reader.get_slide_reader(str(empty)) is None


def test_the_reader_says_no_without_looking_or_loading_anything(tmp_path: Path) -> None:
    code = (
        "import sys; from napari_cmrcnet.viewer.reader import get_slide_reader as ask\n"
        "assert ask('missing.csv') is None and ask('a.h5ad') is None and ask('noext') is None\n"
        "assert ask(['a.svs', 'b.svs']) is None and ask('missing.svs') is not None\n"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "scanpy", "timm", "matplotlib", "openslide", "tifffile", "anndata", "napari", "qtpy", "numpy"}
    assert not heavy & set(loaded)


def test_a_large_picture_shows_progress_and_can_be_cancelled(
    tmp_path: Path, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.utils.progress import cancelable_progress, progress

    from napari_cmrcnet.slides import flat_source

    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 1000)
    monkeypatch.setattr(flat_source, "LAST_LEVEL", 64)
    tifffile.imwrite(tmp_path / "flat.tif", picture(1200, 1400), photometric="rgb", tile=(256, 256), metadata=None)
    seen: list[cancelable_progress] = []

    def press_cancel(bar: cancelable_progress, n: int = 1) -> None:
        seen.append(bar)
        assert reader.read_slide(str(tmp_path / "flat.tif")) == [(None,)]  # dropped once more
        bar.cancel()

    monkeypatch.setattr(cancelable_progress, "update", press_cancel)
    assert reader.read_slide(str(tmp_path / "flat.tif")) == [(None,)]
    assert seen
    assert not progress._all_instances
    assert [severity for severity, _ in told] == ["info", "error", "info"]
    assert "flat.tif is still being opened" in told[1][1]
    assert told[-1][1].endswith("was not opened, as you asked.")
    assert not list((tmp_path / "cache" / "overviews").iterdir())


def test_a_link_to_a_picture_that_is_being_opened_opens_after_it(
    tmp_path: Path, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the events that the first one handles, the second could wait for ever."""
    from napari.utils.progress import cancelable_progress

    from napari_cmrcnet.slides import flat_source

    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 1000)
    monkeypatch.setattr(flat_source, "LAST_LEVEL", 64)
    file, link = tmp_path / "flat.tif", tmp_path / "link.tif"
    tifffile.imwrite(file, picture(600, 700), photometric="rgb", tile=(256, 256), metadata=None)
    link.symlink_to(file)
    meanwhile: list[list[Any]] = []

    def drop_link(bar: cancelable_progress, n: int = 1) -> None:
        if bar.desc.startswith("Waiting"):
            pytest.fail("it waits for itself")
        if not meanwhile:
            meanwhile.append([])
            meanwhile[0] = reader.read_slide(str(link))

    monkeypatch.setattr(cancelable_progress, "update", drop_link)
    layers = reader.read_slide(str(file))
    assert meanwhile == [reader.NOTHING]
    assert [settings["name"] for _, settings, _ in layers] == ["flat", "link"]
    assert [severity for severity, text in told if "pixel size" not in text] == ["info"]


def test_the_window_lives_while_a_large_jpeg_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.utils.progress import cancelable_progress

    from napari_cmrcnet.slides import flat_source

    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 1000)
    (tmp_path / "large.jpg").write_bytes(imagecodecs.jpeg_encode(picture(300, 300)))
    alive, decode = threading.Event(), imagecodecs.jpeg_decode

    def wait_for_the_window(data: bytes) -> Any:
        alive.clear()
        assert alive.wait(10)
        return decode(data)

    monkeypatch.setattr(imagecodecs, "jpeg_decode", wait_for_the_window)
    monkeypatch.setattr(cancelable_progress, "update", lambda _bar, _n: alive.set())
    ((levels, _, _),) = reader.read_slide(str(tmp_path / "large.jpg"))
    assert levels[0].shape == (300, 300, 3)


def test_a_slide_is_drawn_from_the_level_that_fits_the_zoom(slide: Slide, napari_window: Any) -> None:
    from qtpy.QtWidgets import QApplication

    viewer = napari_window
    viewer.window.resize(900, 700)
    levels, settings, _ = slide_layer.slide_layer(slide, slide.mpp)
    layer = viewer.add_image(levels, **settings)
    viewer.scene.camera.zoom = 0.5  # 150 µm in 75 screen pixels
    QApplication.processEvents()
    far = layer.data_level
    viewer.scene.camera.zoom = 30
    QApplication.processEvents()
    assert layer.data_level == 0
    assert far <= 2
    drawn = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    assert drawn.std() > 20
