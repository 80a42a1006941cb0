"""Very many spots in a window: opening them, switching genes, moving about, and the memory of it.

usage: xvfb-run -a python -m benchmarks.many_spots [--small]

Bins on a turned square grid, which were measured only, in one view; and predicted ones, in three views beside each
other: measured, predicted and their difference. Three ways, each in a process of its own: ours, a picture, which is
drawn above 50,000 spots; ours as Points layers (of one view); and napari alone, Points layers that are given the
computed values as ``features``. A switch is timed until it returns, and until all is drawn. The times of
drawing are the processor's, without a GPU. At last 500,000 bins with 50 million counts are opened from files.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Row, Times, at_most, main
from benchmarks.harness import _status_mb as memory_mb
from benchmarks.opening import write_visium_hd
from benchmarks.screen import no_window
from napari_cmrcnet.viewer.display_settings import View

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

GENES, OF_A_SPOT = 400, 40
PREDICTED = 20  # genes of the bins that are predicted
OURS, POINTS, NAPARI = "ours", "ours, as points", "napari alone"
SWITCHES, FRAMES = 4, 6
TURN = 0.02  # radians

ONE: tuple[View, ...] = ("measured",)
BESIDE: tuple[View, ...] = ("measured", "predicted", "difference")

Taken = dict[str, tuple[float, float]]
"""Median wall and CPU seconds by what was done; MB under ``memory``."""


def rows(small: bool) -> Iterator[Row]:
    """Time the ways at three sizes, and opening from files."""
    if no_window("many_spots"):
        return
    for spots in (2_000,) if small else (50_000, 500_000, 1_000_000):
        for way in () if small else (OURS, POINTS, NAPARI):
            goals = {"open": 15, "switch": 0.25, "pan": 0.1} if way == OURS else {}
            yield from _rows(f"{spots:,} spots, {way}", _alone(_in_memory, way, spots), goals, spots)
        for way in (OURS,) if small else (OURS, NAPARI):
            goals = {"open": 15, "switch": 0.25, "pan": 0.1} if way == OURS else {}
            what = f"{spots:,} spots in three views, {way}"
            taken = _in_memory(way, spots, BESIDE) if small else _alone(_in_memory, way, spots, BESIDE)
            yield from _rows(what, taken, goals, spots)
    if small:
        return
    bins = 500_000
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "outs"
        write_visium_hd(place, bins)
        goals = {"open": 20, "switch": 0.1, "memory": 4000}
        yield from _rows(f"{bins:,} bins of Visium HD from files", _alone(_from_files, str(place)), goals, bins)


def _rows(what: str, taken: Taken, goals: dict[str, float], spots: int) -> Iterator[Row]:
    for done, (wall, cpu) in taken.items():
        goal = None if done not in goals else at_most(goals[done])
        if done == "memory":
            yield Row(f"{what}: memory", "", wall, "MB", goal, {"spots": spots})
        else:
            times = {"cpu": Times((cpu,), (cpu,))}
            yield Row(f"{what}: {done}", "", wall, "s", goal, {"spots": spots}, times)


def _alone(work: Callable[..., Taken], *arguments: Any) -> Taken:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _in_memory(way: str, spots: int, views: tuple[View, ...] = ONE) -> Taken:
    from napari_cmrcnet.viewer import spot_layer
    from napari_cmrcnet.viewer.reopen import make_ready

    case = bins_of(spots) if views == ONE else _predicted(bins_of(spots))
    make_ready(case)
    spot_layer.MOST_POINTS = 0 if way == OURS else spots
    return _looked_at(lambda: case, way, views)


def _predicted(case: "Case") -> "Case":
    """Return the case with values that another tool predicted, which are random here."""
    import pandas as pd

    from napari_cmrcnet.retrieval.external import of_table
    from napari_cmrcnet.retrieval.external_files import ExternalTable

    values = np.random.default_rng(1).uniform(0, 5, (len(case), PREDICTED)).astype(np.float32)
    genes = pd.DataFrame(index=pd.Index(case.genes[:PREDICTED], dtype=object))
    return of_table(ExternalTable(values, case.spots.obs_names, genes), Path("bins"), case.spots)


def _from_files(place: str) -> Taken:
    from napari_cmrcnet.common.progress import finish
    from napari_cmrcnet.viewer.reopen import open_measured

    return _looked_at(lambda: finish(open_measured(Path(place))).case, OURS)


def _looked_at(opened: "Callable[[], Case]", way: str, views: tuple[View, ...] = ONE) -> Taken:
    """Open a case in a window, and do with it what users do."""
    import napari
    from napari.utils.colormaps import ensure_colormap
    from qtpy.QtWidgets import QApplication

    from napari_cmrcnet.viewer.registry import layers_of, session_of

    first = napari.Viewer()  # what napari loads with the first layer is not of ours
    first.add_points(np.zeros((3, 2)), face_color="white", face_colormap=ensure_colormap("viridis"))
    first.add_image(np.zeros((4, 4, 4), np.uint8))
    QApplication.processEvents()
    first.close()
    viewer = napari.Viewer()
    session, layers = session_of(viewer), layers_of(viewer)
    before = memory_mb("VmRSS")
    if way == NAPARI:
        case = opened()
        shown: list[Any] = []
        columns = [case.measured(case.genes[gene : gene + 1])[:, 0] for gene in range(SWITCHES + 1)]

        def look() -> None:
            for _ in views:
                layer = viewer.add_points(
                    case.xy[:, ::-1],
                    features={"value": columns[0]},
                    face_color="value",
                    face_contrast_limits=(0.0, 5.0),
                    size=case.spot_diameter,
                    border_width=0,
                    blending="translucent_no_depth",
                )
                shown.append(layer)
            viewer.canvas.grid.enabled = len(views) > 1
            viewer.fit_to_view()

        def switch(turn: int) -> None:
            for layer in shown:
                layer.features = {"value": columns[turn + 1]}
    else:

        def look() -> None:
            session.look_at(opened())
            session.set_display(views=views)

        def switch(turn: int) -> None:
            session.show(session.case.genes[turn])

    draw = QApplication.processEvents
    taken: Taken = {"open": _timed(look, draw)}
    memory = memory_mb("VmHWM") - before
    switched = [(_timed(lambda turn=turn: switch(turn)), _timed(draw)) for turn in range(SWITCHES)]
    taken["switch"] = _median([own for own, _ in switched])
    taken["drawing after a switch"] = _median([drawn for _, drawn in switched])
    camera = viewer.scene.camera
    for name, closer in (("pan", 1.0), ("pan, 10 times closer", 10.0)):
        camera.zoom *= closer
        draw()
        taken[name] = _median([_timed(lambda: _pan(camera), draw) for _ in range(FRAMES)])
    if way != NAPARI:
        _check(session, layers)
    taken["memory"] = (memory, 0.0)
    viewer.close()
    return taken


def _pan(camera: Any) -> None:
    y, x = camera.center[-2:]
    camera.center = (y + 20 / camera.zoom, x + 20 / camera.zoom)


def _check(session: Any, layers: Any) -> None:
    """Check that the layer has the colour of each spot, and the picture of some."""
    from napari_cmrcnet.viewer.coloring import colours

    layer = layers.points["measured"]
    expected = colours(session.shown.measured, layer.face_contrast_limits, layer.face_colormap)
    np.testing.assert_allclose(layer.face_color, expected, atol=1 / 255)
    if layer.data.ndim == 3:
        for spot in (0, len(session.case) // 2):
            row, column = session.case.xy[spot, ::-1] * (session.case.provenance.mpp or 1.0)
            assert layer.get_value((row, column), world=True) == spot
            place = tuple(np.rint(layer.world_to_data((row, column))).astype(int))
            np.testing.assert_allclose(layer.data[place] / 255, expected[spot], atol=1 / 255)


def _timed(*work: Callable[[], object]) -> tuple[float, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    for one in work:
        one()
    return time.perf_counter() - start, time.process_time() - start_cpu


def _median(times: list[tuple[float, float]]) -> tuple[float, float]:
    wall, cpu = np.median(times, axis=0).tolist()
    return wall, cpu


def bins_of(spots: int) -> "Case":
    """Return bins that were measured, on a square grid that is turned a little."""
    import anndata
    import pandas as pd
    from scipy import sparse

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.formats.origin import Origin

    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(spots), int(np.ceil(np.sqrt(spots))))
    step = GENES // OF_A_SPOT
    genes = np.arange(OF_A_SPOT) * step + rng.integers(step, size=(spots, OF_A_SPOT))
    counts = rng.poisson(2.0, genes.size).astype(np.float32) + 1
    ends = np.arange(spots + 1) * OF_A_SPOT
    held = sparse.csr_matrix((counts, genes.ravel().astype(np.int32), ends), shape=(spots, GENES))
    obs = pd.DataFrame({"array_row": row, "array_col": column}, index=pd.RangeIndex(spots).astype(str))
    names = pd.DataFrame({"gene_ids": ""}, index=[f"G{gene}" for gene in range(GENES)])
    found = anndata.AnnData(held, obs, names)
    turn = np.array([[np.cos(TURN), np.sin(TURN)], [-np.sin(TURN), np.cos(TURN)]])
    found.obsm["spatial"] = np.column_stack([column, row]) * 32.0 @ turn + 100
    found.uns["spatial"] = {"S": {"scalefactors": {"spot_diameter_fullres": 32.0}}}
    Origin("bins", Path("bins"), unit="bin").keep_in(found)
    case = Case.of(found, "bins")
    case.provenance = replace(case.provenance, mpp=0.25)
    return case


if __name__ == "__main__":
    main(rows)
