"""What writes: each command and each kind of export, on sections so small that a run takes a second."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tifffile

from benchmarks.faults.bases import make_checkpoint, picture, spots
from napari_cmrcnet.common.progress import Job, finish

Act = Callable[[Path], int]
"""Runs in a folder that `make` has filled, and returns the exit code."""


@dataclass(frozen=True)
class Written:
    """Something that is written.

    Parameters
    ----------
    run : Act
        Writes it.
    before : Act
        Writes what it replaces, or what the run goes on from.
    again : Act or None
        The next run, if it is not the same.
    marker : str
        A file that says that all others are there: taken away first, and written last.
    """

    run: Act
    before: Act
    again: Act | None = None
    marker: str = ""


def make(folder: Path) -> None:
    """Fill a folder with two sections, a checkpoint, a prediction and a sheet."""
    make_checkpoint(folder)
    (folder / "t.h5").unlink()
    tifffile.imwrite(folder / "b.tif", picture(seed=3), tile=(64, 64), photometric="rgb", compression="zlib")
    spots(4).write_h5ad(folder / "b.h5ad")
    rows = "A,a.tif,a.h5ad,P1,1\nB,b.tif,b.h5ad,P2,1\n"
    (folder / "sheet.csv").write_text(f"section,slide,spots,patient,mpp\n{rows}")


def command(text: str, folder: Path) -> int:
    """Run the command line; names of files are of the folder."""
    from napari_cmrcnet.cli import main

    words = [str(folder / word) if "." in word or word.endswith("/") else word for word in text.split()]
    return main(words)


def _cli(text: str) -> Act:
    return partial(command, text)


def nothing(_: Path) -> int:
    """Leave the folder as it is."""
    return 0


def _export(name: str, export: Callable[[Any, Path, Sequence[str] | None], Job[Path]]) -> Written:
    def write(genes: int, folder: Path) -> int:
        from napari_cmrcnet.retrieval.prediction import Prediction

        prediction = Prediction.load(folder / "p.h5ad", folder / "m.cmrcnet")
        finish(export(prediction, folder / name, prediction.genes[:genes]))
        return 0

    return Written(partial(write, 5), partial(write, 2))


def _csv(*given: Any) -> Job[Path]:
    from napari_cmrcnet.retrieval.export import to_csv

    return to_csv(*given)


def _geojson(*given: Any) -> Job[Path]:
    from napari_cmrcnet.retrieval.export import to_geojson

    return to_geojson(*given)


def _h5ad(*given: Any) -> Job[Path]:
    from napari_cmrcnet.retrieval.export_tables import to_h5ad

    return to_h5ad(*given)


def _spatialdata(*given: Any) -> Job[Path]:
    from napari_cmrcnet.retrieval.export_tables import to_spatialdata

    return to_spatialdata(*given)


def _html(prediction: Any, path: Path, _: Any) -> Job[Path]:
    from napari_cmrcnet.evaluation.html_report import write_html_report

    return write_html_report(prediction, path)


def _figure(prediction: Any, path: Path, genes: Sequence[str] | None) -> Job[Path]:
    from napari_cmrcnet.evaluation.maps_figure import write_maps_figure
    from napari_cmrcnet.evaluation.shown import gene_shown

    return write_maps_figure(prediction, path, gene_shown(prediction, (genes or prediction.genes)[-1], None))


def _save_regions(number: int, folder: Path) -> int:
    from shapely.geometry import box

    from napari_cmrcnet.sections.geojson import write_geojson
    from napari_cmrcnet.sections.regions import Region

    regions = [Region(f"R{i}", "Tumour", box(i, i, i + 9, i + 9)) for i in range(number)]
    write_geojson(folder / "regions.geojson.gz", regions)
    return 0


def _save_panel(number: int, folder: Path) -> int:
    from napari_cmrcnet.sections.panels import Panel, save_panel

    save_panel(Panel("mine", tuple(f"GENE{i}" for i in range(number))), folder / "panel.txt")
    return 0


def _replace_checkpoint(epochs: int, folder: Path) -> int:
    from dataclasses import replace

    from napari_cmrcnet.retrieval.checkpoint import Checkpoint

    loaded = Checkpoint.load(folder / "m.cmrcnet")
    changed = Checkpoint(replace(loaded.card, epochs=epochs), loaded.model, loaded.bank)
    changed.save(folder / "again.cmrcnet")
    return 0


def _open_large(folder: Path) -> int:
    """Open a picture so large that its lower levels are built in the cache."""
    from napari_cmrcnet.slides import flat_source
    from napari_cmrcnet.slides.slide import open_slide

    flat_source.SHOWN_PIXELS = 2**14
    flat_source.LAST_LEVEL = 64
    with open_slide(folder / "b.tif") as slide:
        assert len(slide.levels) == 3
        slide.thumbnail(64)
    return 0


def _forget_cache(folder: Path) -> int:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return 0


def _download(folder: Path) -> int:
    """Download a section from `site`; it is kept where what is written is compared."""
    from benchmarks.faults.site import section
    from napari_cmrcnet.catalogue.public_data import download

    os.environ["CMRCNET_CACHE"] = str(folder / "kept")
    finish(download(section()))
    return 0


PREDICT = "predict --checkpoint m.cmrcnet --slide b.tif --spots b.h5ad --mpp 1 --device cpu --out q.h5ad --overwrite"
SHEET = "predict sheet.csv --checkpoint m.cmrcnet --out predictions/ --device cpu"
TRAIN = (
    "train sheet.csv --out t.cmrcnet --preset tiny --variant paper --epochs 2 --device cpu --batch-size 8 --genes 6 "
    "--patch-px 32 --model-mpp 1"
)
BENCHMARK = "benchmark sheet.csv --out bench/ --methods mean,depth --no-figures --device cpu"

WRITTEN = {
    "predict": Written(_cli(f"{PREDICT} --k 4"), _cli(f"{PREDICT} --k 2")),
    "predict a sheet": Written(_cli(SHEET), nothing),
    "evaluate": Written(
        _cli("evaluate p.h5ad --out report/"),
        _cli("evaluate p.h5ad --out report/ --sets all"),
        marker="report/summary.json",
    ),
    "train": Written(_cli(TRAIN), nothing, _cli(f"{TRAIN} --resume")),
    "benchmark": Written(_cli(BENCHMARK), nothing),
    "CSV": _export("e.csv", _csv),
    "QuPath detections": _export("e.geojson", _geojson),
    "h5ad": _export("e.h5ad", _h5ad),
    "SpatialData": _export("e.zarr", _spatialdata),
    "HTML report": _export("e.html", _html),
    "figure": _export("e.png", _figure),
    "regions": Written(partial(_save_regions, 9), partial(_save_regions, 3)),
    "gene panel": Written(partial(_save_panel, 9), partial(_save_panel, 3)),
    "checkpoint replaced": Written(partial(_replace_checkpoint, 7), partial(_replace_checkpoint, 5)),
    "overview in the cache": Written(_open_large, _forget_cache),
    "download": Written(_download, nothing),
}
