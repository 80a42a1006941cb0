"""What is dropped on the window or opened from its menu: measured sections and saved predictions, with their slides."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QTimer

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.common.suffixes import PREDICTIONS, PROJECTS, REGIONS, SECTIONS, SPOTS, dialog_filter, ends_in
from napari_cmrcnet.viewer import reader
from napari_cmrcnet.viewer.open_file import is_table, open_file
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.reopen import Opened, open_prediction, slide_of
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.dock_panel import (
    find_panel,
    layer_list_wanted,
    main_window,
    open_panel,
    show_layer_list,
    show_on_canvas,
)
from napari_cmrcnet.widgets.jobs import run_for_case
from napari_cmrcnet.widgets.keeper import keep_watch, may_leave, run_to_replace
from napari_cmrcnet.widgets.overview import Overview
from napari_cmrcnet.widgets.swipe import SwipeLine

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_cmrcnet.common.progress import Job
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide

PANELS_TO_LOOK = ("View", "Genes")  # what one needs to look at a prediction; the last one is in front


def get_reader(path: str | list[str]) -> Callable[..., list[Any]] | None:
    """Return what opens a path that napari asks about: regions, cases, a case or a slide; None for anything else.

    Nothing heavy is imported to say no to a folder, which napari asks about for every one.
    """
    one = one_path(path)
    if ends_in(one, REGIONS):
        return _reading(_add_regions)
    if ends_in(one, PROJECTS):
        return _reading(lambda viewer, path: open_panel(viewer, "Cases").open(path))
    if _is_case(one):
        return _reading(open_in)
    read = reader.get_slide_reader(path)
    return None if read is None else partial(_read_slide, read)


def _is_case(path: str) -> bool:
    """Whether a path is a saved prediction, spots, or a table of values.

    A table is taken where a measured section is open at whose spots it may be predicted; of parquet nothing else is
    opened, so that the section is asked for.
    """
    from napari_cmrcnet.common.folders import may_hold_spots

    if path and Path(path).is_dir() and not ends_in(path, PREDICTIONS):
        return may_hold_spots(Path(path))
    return ends_in(path, PREDICTIONS) or _is_section(path) or _is_table(path)


def _is_section(path: str) -> bool:
    if not ends_in(path, SECTIONS):
        return False
    from napari_cmrcnet.sections.spots import is_spots

    try:
        return is_spots(path)
    except UserError:  # of several sections, or a part is missing: said when it is opened
        return True


def _is_table(path: str) -> bool:
    import napari

    viewer = napari.current_viewer()
    beside = viewer is not None and _measured_in(viewer) is not None
    return (beside or ends_in(path, (".parquet",))) and is_table(Path(path), beside)


def _read_slide(read: reader.ReadSlide, path: str) -> list[Any]:
    import napari

    layers, viewer = read(path), napari.current_viewer()
    if layers != reader.NOTHING and viewer is not None and getattr(viewer, "window", None) is not None:
        open_panel(viewer, "Predict").form.choose_slide(Path(path))
    return layers


def _add_regions(viewer: Any, path: Path) -> None:
    """Add the regions of a file to those of the section that is shown, and open the panel that has them."""
    from napari.utils.notifications import show_error

    if session_of(viewer).case is None and not any(map(slide_path, viewer.layers)):
        show_error(f"{path} contains regions, but no section is open; open its slide or a prediction first.")
    else:
        open_panel(viewer, "Regions").files.import_geojson(path)


def one_path(path: str | list[str]) -> str:
    """Return the one path that a reader is asked about; several at once, a stack, are none of ours."""
    one = path[0] if isinstance(path, list) and len(path) == 1 else path
    return one if isinstance(one, str) else ""


def open_in(viewer: Any, path: Path, **asked: str) -> None:
    """Open a saved prediction, a measured section or another tool's prediction in a window.

    What the file does not say is asked for: which of several sections or matrices, what it is, what its values are,
    where its slide or the measured spots are. Spots without measurements go to the Predict panel.
    """
    if not asked and not may_leave(viewer):
        return
    now = _measured_in(viewer)
    if now is None and is_table(path, False) and "spots" not in asked:
        spots = dialogs.choose_path(None, f"The measured spots of {path.name}", dialog_filter("Spots", SPOTS))
        if spots is not None:
            open_in(viewer, path, **asked, spots=str(spots))
        return

    def done(opened: Opened | UserError) -> None:
        if isinstance(opened, UserError):
            chosen = dialogs.choose_for(path, opened)
            if chosen is not None:
                open_in(viewer, path, **{**asked, opened.setting: chosen})
        elif opened.case.genes:
            if opened.case.prediction is None and find_panel(viewer, "Predict") is None:
                open_panel(viewer, "Predict")  # what is done next with a measured section: a tab behind the others
            show_opened(viewer, opened)
        else:
            open_panel(viewer, "Predict").form.choose_spots(path)

    run_to_replace(viewer, open_file(path, now, asked), done, f"Opening {path.name}")


def _reading(act: Callable[[Any, Path], object]) -> Callable[[Any], list[Any]]:
    """Return a reader that lets the current window do something with a path, and adds no layer itself."""

    def read(path: str | list[str]) -> list[Any]:
        import napari

        viewer = napari.current_viewer()
        if viewer is not None:
            act(viewer, Path(one_path(path)))
        return reader.NOTHING

    return read


def _measured_in(viewer: Any) -> Opened | None:
    session = session_of(viewer)
    case = session.case
    return None if case is None or case.spots.X is None else Opened(case, session.slide)


def show_opened(viewer: Any, opened: Opened) -> None:
    """Show what was opened; where its slide is not at hand, ask for it, and go on without it if need be."""
    from napari.utils.notifications import show_info

    case = opened.case
    try:
        show_case(viewer, case, opened.slide)
    except UserError:
        opened.close()
        raise
    if not opened.missing:
        return
    found = dialogs.ask_for_slide(None, case.name, opened.missing)
    if found is not None:
        _show_over(viewer, found)
    else:
        show_info(f"{case.name} is shown without its slide. To choose the slide, press Find slide… in the View panel.")


def show_case(viewer: Any, case: "Case", slide: "Slide | None") -> None:
    """Look at a case, score it in the background if it is predicted, and open the panels to look at it with."""
    session = session_of(viewer)
    session.look_at(case, slide)
    keep_watch(viewer)
    for kind in (Overview, SwipeLine):
        show_on_canvas(viewer, kind)
    start_scoring(viewer)
    layers = ref(layers_of(viewer))  # the window may be closed by then
    QTimer.singleShot(0, lambda: open_panels(known.viewer) if (known := layers()) else None)  # it answers in between


def open_panels(viewer: Any) -> None:
    """Open the panels that one needs to look at a prediction, where they are not open, and fit the picture beside."""
    if main_window(viewer) is None:  # none, or closed meanwhile
        return
    for name in PANELS_TO_LOOK:
        if find_panel(viewer, name) is None:
            show_layer_list(open_panel(viewer, name), layer_list_wanted())
    QTimer.singleShot(0, layers_of(viewer).groups.fit)


def start_scoring(viewer: Any) -> None:
    """Compute the PCC of every gene and then, which takes longer, their intervals; each is shown as it comes.

    Nothing is done where all are known, nothing was measured, or they are being computed.
    """
    from napari_cmrcnet.evaluation.scores import interval_job, pcc_job

    session = session_of(viewer)
    prediction, scores = session.prediction, session.scores
    if prediction is None or not prediction.measured_genes or session.scoring:
        return
    if scores is not None and scores.replicates:
        return

    def ended() -> None:
        if session.prediction is prediction:
            session.set_scoring(False)
            if session.scores is not scores:  # else it was cancelled
                start_scoring(viewer)

    session.set_scoring(True)
    if scores is None:
        run_for_case(viewer, pcc_job(prediction), session.set_scores, f"Scoring {prediction.name}", ended)
    else:
        job = interval_job(prediction, scores)
        run_for_case(viewer, job, session.set_scores, f"Intervals of {prediction.name}", ended)


def find_slide(parent: "QWidget", viewer: Any, kind: str) -> None:
    """Ask where the slide of the case is, a file or a folder, and show the case over it."""
    case = session_of(viewer).case
    if case is None:
        return
    found = dialogs.choose_path(parent, f"The slide of {case.name}", kind)
    if found is not None:
        _show_over(viewer, found)


def _show_over(viewer: Any, path: Path) -> None:
    session = session_of(viewer)
    case = session.case
    assert case is not None

    def done(slide: "Slide") -> None:
        case.view = record_of(session)
        session.look_at(case, slide, session.scores)

    run_for_case(viewer, _slide_job(case, path), done, f"Opening {path.name}")


def _slide_job(case: "Case", path: Path) -> "Job[Slide]":
    yield Progress(f"Opening {path.name}", 0, 0)
    return slide_of(case, path)


def find_checkpoint(parent: "QWidget", viewer: Any) -> None:
    """Ask where the checkpoint of the prediction is, and open the prediction with it."""
    session = session_of(viewer)
    prediction = session.prediction
    if prediction is None or prediction.path is None:
        return

    def done(opened: Opened) -> None:
        opened.case.view = record_of(session)
        show_case(viewer, opened.case, opened.slide)

    title = f"Find the checkpoint of {prediction.name} (it was at {prediction.provenance.checkpoint})"
    found = dialogs.choose_path(parent, title, dialogs.FOLDER)
    if found is not None:
        slide = session.slide.path if session.slide is not None else None  # else that of the prediction, if it opens
        job = open_prediction(prediction.path, slide, found)
        run_for_case(viewer, job, done, f"Opening {prediction.name}")
