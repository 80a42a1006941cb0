"""What can be exported: the formats, what each is for, and the job of the core that writes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.blend import INKS
from napari_cmrcnet.evaluation.bundle import write_bundle
from napari_cmrcnet.evaluation.document import html_or_pdf
from napari_cmrcnet.evaluation.html_report import write_html_report
from napari_cmrcnet.evaluation.maps_figure import write_maps_figure
from napari_cmrcnet.evaluation.shown import panel_genes
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.region_origin import qupath_corner
from napari_cmrcnet.viewer.coloring import expression_limits
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets.report_pdf import print_pdf

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.viewer.session import Session

Write = Callable[["Case", Path, Sequence[str] | None], Job[Path]]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Parameters
    ----------
    name : str
        In the list.
    ending : str
        Of the file's name.
    purpose : str
        What it is for, in plain words.
    genes : bool
        Whether genes are chosen for it.
    predicted : bool
        Whether it needs a prediction.
    """

    name: str
    ending: str
    purpose: str
    genes: bool = False
    predicted: bool = False

    @property
    def kinds(self) -> str:
        """What a file dialog takes; a figure of several genes has its kind by the ending of its name."""
        return MAP_KINDS if self is FORMATS["maps"] else f"{self.name} (*{self.ending})"


IMAGE_TOO = "spatialdata with image"
MAP_KINDS = "PDF document (*.pdf);;PNG picture (*.png);;SVG drawing (*.svg)"

_FIGURES = {"png": "for slides and documents", "svg": "to edit in a drawing program", "pdf": "for print"}

FORMATS: dict[str, Format] = {
    "csv": Format(
        "Table (CSV)",
        ".csv",
        "A table for Excel, R or Python with one row per spot: position in pixels and µm, confidence, predicted "
        "and measured expression.",
        genes=True,
    ),
    "h5ad": Format(
        "Annotated table (h5ad)",
        ".h5ad",
        "For scanpy and squidpy: predicted and measured expression as layers, positions, confidence. To open a "
        "prediction here again, choose Saved prediction instead.",
        genes=True,
    ),
    "geojson": Format(
        "Detections for QuPath (GeoJSON)",
        ".geojson",
        "Spots with their expression as measurements. Open the same slide in QuPath and drag the file onto it; "
        "Measure > Show measurement maps colours the spots. QuPath keeps all measurements in memory: choose few genes.",
        genes=True,
    ),
    "spatialdata": Format(
        "SpatialData (Zarr)",
        ".zarr",
        "A folder for SpatialData and napari-spatialdata: spots as circles in pixels and µm, their table, your "
        "regions, and where the slide lies.",
        genes=True,
    ),
    IMAGE_TOO: Format(
        "SpatialData with the slide (Zarr)",
        ".zarr",
        "The same with a copy of the slide's full resolution, which can take gigabytes.",
        genes=True,
    ),
    **{
        kind: Format(
            f"Figure ({kind.upper()})",
            f".{kind}",
            "Histology, measured and predicted expression of what is shown, with colour bar, scale bar and caption, "
            f"{use}.",
        )
        for kind, use in _FIGURES.items()
    },
    "maps": Format(
        "Figure of several genes (PDF, PNG, SVG)",
        ".pdf",
        "Maps of up to 12 genes for print, measured over predicted, with letters, PCC with its interval, and n, at "
        "the width that you choose.",
        genes=True,
    ),
    "html": Format(
        "Report (HTML)",
        ".html",
        "One file for any browser, to read, print or pass on: scores, maps of markers and of the best predicted "
        "genes, regions, confidence, and how the prediction was made. It loads nothing from the internet.",
        predicted=True,
    ),
    "report": Format("Report (PDF)", ".pdf", "The same report as pages of A4.", predicted=True),
    "bundle": Format(
        "Everything (ZIP)",
        ".zip",
        "All of this case in one file: the saved prediction, tables (CSV, h5ad, GeoJSON) of the markers and top "
        "genes, the figure of the markers, the report, and a text with the commands that make each again.",
        predicted=True,
    ),
    "prediction": Format(
        "Saved prediction, to open here again",
        ".h5ad",
        "Drop it onto the window later to see the same slide, gene and colours again. It stores the markers and "
        "the most expressed and most variable genes. All other genes are computed from its checkpoint.",
        predicted=True,
    ),
}

ALL = "all"
SHOWN = "shown"
SETS = "sets"


def missing_package(kind: str) -> str:
    """Return what must be installed for a format, in a sentence, or an empty text."""
    if kind in ("spatialdata", IMAGE_TOO) and find_spec("spatialdata") is None:
        return '⚠ It needs a package that is not installed: pip install "napari-cmrcnet[spatialdata]"'
    return ""


def export_job(session: "Session", kind: str, path: Path, choice: str, width_mm: float | None = None) -> Job[Path]:
    """Return the job that exports the session's case.

    Parameters
    ----------
    session : Session
        Has a case, predicted if the format needs that, and something shown.
    kind : str
        Of `FORMATS`.
    path : Path
        The file.
    choice : str
        Which genes: `SHOWN`, `SETS`, `ALL`, or the name of a panel.
    width_mm : float, optional
        Of a figure of several genes.

    Raises
    ------
    UserError
        If the file is one that the case was made from, or there is no gene of the panel.
    """
    case, prediction = session.case, session.prediction
    assert case is not None
    case.provenance.check_output(path)
    if FORMATS[kind].genes:
        genes = None if choice == SETS else chosen_genes(session, choice)
        write = _maps(session, choice, width_mm) if kind == "maps" else _writer(session, kind)
        return _of_genes(case, path, genes, choice, write)
    if not FORMATS[kind].predicted:
        return _figure(session, case, path)
    assert prediction is not None
    if kind in ("prediction", "bundle"):
        prediction.view = record_of(session)
        return _save(prediction, path) if kind == "prediction" else write_bundle(prediction, path)
    return html_or_pdf(partial(_report, session, prediction), path, print_pdf)


def corner_of(session: "Session") -> tuple[int, int]:
    """Return where QuPath counts the positions of the session's slide from, in pixels of the whole image."""
    return qupath_corner(None if session.slide is None else session.slide.bounds, session.qupath_whole)


def chosen_genes(session: "Session", choice: str) -> list[str] | None:
    """Return the genes of a choice other than `SETS`; None for all.

    Raises
    ------
    UserError
        If the case has no gene of the panel.
    """
    case, shown = session.case, session.shown
    assert case is not None
    assert shown is not None
    if choice == ALL:
        return None
    if choice == SHOWN and shown.kind == "gene":
        return [shown.name]
    return panel_genes(case, session.panels[shown.name if choice == SHOWN else choice])


def _writer(session: "Session", kind: str) -> Write:
    from napari_cmrcnet.retrieval.export import to_csv, to_geojson  # they wait for anndata
    from napari_cmrcnet.retrieval.export_tables import to_h5ad, to_spatialdata

    slide = session.slide if session.slide is not None and session.slide.scale == 1 else None
    match kind:
        case "csv":
            return to_csv
        case "geojson":
            return partial(to_geojson, corner=corner_of(session))
        case "h5ad":
            return partial(to_h5ad, slide=slide)
    return partial(to_spatialdata, slide=slide, regions=session.regions, copy_image=kind == IMAGE_TOO)


def _of_genes(case: "Case", path: Path, genes: Sequence[str] | None, choice: str, write: Write) -> Job[Path]:
    from napari_cmrcnet.retrieval.prediction_file import genes_to_store

    if choice == SETS:
        yield Progress("Choosing genes", 0, 0)
        genes = genes_to_store(case)
    return (yield from write(case, path, genes))


def _save(prediction: "Prediction", path: Path) -> Job[Path]:
    yield Progress(f"Writing {path.name}", 0, 0)
    prediction.save(path)
    return path


def _figure(session: "Session", case: "Case", path: Path) -> Job[Path]:
    if session.display.blend and len(session.ticked) in INKS:
        return write_maps_figure(case, path, Panel("", tuple(session.ticked)), blend=True, slide=_slide(session))
    return write_maps_figure(case, path, _shown(session), slide=_slide(session))


def _maps(session: "Session", choice: str, width_mm: float | None) -> Write:
    name, slide = choice if choice in session.panels else "", _slide(session)

    def write(case: "Case", path: Path, genes: Sequence[str] | None) -> Job[Path]:
        return write_maps_figure(case, path, Panel(name, tuple(genes or case.genes)), slide=slide, width_mm=width_mm)

    return write


def _report(session: "Session", prediction: "Prediction", path: Path) -> Job[Path]:
    shown, slide = _shown(session), _slide(session)
    return write_html_report(prediction, path, shown=shown, scores=session.scores, regions=session.regions, slide=slide)


def _shown(session: "Session") -> "Shown":
    """Return what is shown, in the colours in which it is shown."""
    shown, display = session.shown, session.display
    assert shown is not None
    return replace(shown, limits=expression_limits(shown, display), colours=display.colormap)


def _slide(session: "Session") -> Path | str:
    return "" if session.slide is None or session.slide.scale != 1 else session.slide.path
