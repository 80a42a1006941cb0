"""What is dropped on the window or taken from File > Open Sample: predictions, with slide, layers, gene and limits."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.common.suffixes import PREDICTIONS, REGIONS, ends_in
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.reopen import Opened, open_prediction, slide_of
from napari_cmrcnet.viewer.runtime import import_torch
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.jobs import run_in_window
from napari_cmrcnet.widgets.napari_docks import layer_list_wanted, show_layer_list

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_cmrcnet.common.progress import Job
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.public_data import PublicPaths
    from napari_cmrcnet.sections.section import Section
    from napari_cmrcnet.slides.slide import Slide

Read = Callable[[Any], list[tuple[None]]]

PLUGIN = "napari-cmrcnet"
PANELS_TO_LOOK = ("View", "Genes")  # what one needs to look at a prediction; the last one is in front
NO_LAYERS: list[tuple[None]] = [(None,)]  # napari's sign of a reader that has done its work itself


def get_prediction_reader(path: str | list[str]) -> Read | None:
    """Return `read_prediction` for an .h5ad file, None for any other; what is no prediction is said when it is read."""
    return read_prediction if ends_in(_one(path), PREDICTIONS) else None


def read_prediction(path: str | list[str]) -> list[tuple[None]]:
    """Open a saved prediction in the current window."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        open_in(viewer, Path(_one(path)))
    return NO_LAYERS


def get_region_reader(path: str | list[str]) -> Read | None:
    """Return `read_regions` for a GeoJSON file, None for any other."""
    return read_regions if ends_in(_one(path), REGIONS) else None


def read_regions(path: str | list[str]) -> list[tuple[None]]:
    """Add the regions of a file to those of the section in the current window, and open the panel that has them."""
    import napari
    from napari.utils.notifications import show_error

    one, viewer = Path(_one(path)), napari.current_viewer()
    if viewer is None:
        return NO_LAYERS
    if session_of(viewer).prediction is None and not any(map(slide_path, viewer.layers)):
        show_error(f"{one} contains regions, but no section is open; open its slide or a prediction first.")
    else:
        _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Regions", tabify=True)
        panel.files.import_geojson(one)
    return NO_LAYERS


def _one(path: str | list[str]) -> str:
    """Return the one path that a reader is asked about; several at once, a stack, are none of ours."""
    one = path[0] if isinstance(path, list) and len(path) == 1 else path
    return one if isinstance(one, str) else ""


def open_in(viewer: Any, path: Path) -> None:
    """Open a saved prediction in a window, asking for its slide where that has moved; spots go to the Predict panel."""

    def done(opened: Opened | None) -> None:
        if opened is not None:
            _opened(viewer, opened)
            return
        dock, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Predict")
        dock.show()  # it may be closed, or behind others
        dock.raise_()
        panel.choose_spots(path)

    run_in_window(viewer, _saved(path), done, f"Opening {path.name}")


def _saved(path: Path) -> "Job[Opened | None]":
    """Open a prediction; None for a sound file of something else, which the Predict panel says more of."""
    from napari_cmrcnet.common.hdf5_checks import check_hdf5
    from napari_cmrcnet.retrieval.prediction_file import is_prediction

    check_hdf5(path)
    return (yield from open_prediction(path)) if is_prediction(path) else None


def _opened(viewer: Any, opened: Opened) -> None:
    """Show what was opened; where its slide is not at hand, ask for it, and go on without it if need be."""
    from napari.utils.notifications import show_info

    prediction = opened.prediction
    found = dialogs.ask_for_slide(None, prediction.name, opened.missing) if opened.missing else None
    try:
        show_prediction(viewer, prediction, opened.slide)
    except UserError:
        if opened.slide is not None:
            opened.slide.close()
        raise
    if found is not None:
        _show_over(viewer, found)
    elif opened.missing:
        show_info(
            f"{prediction.name} is shown without its slide. To choose the slide, press Find slide… in the View panel."
        )


def show_prediction(viewer: Any, prediction: "Prediction", slide: "Slide | None") -> None:
    """Look at a prediction, score it in the background, and open the panels to look at it with."""
    session = session_of(viewer)
    session.look_at(prediction, slide)
    open_panels(viewer)
    start_scoring(viewer)
    QTimer.singleShot(0, layers_of(viewer).fit)  # the panels have taken room from the canvas


def open_panels(viewer: Any) -> None:
    """Open the panels that one needs to look at a prediction, where they are not open."""
    window = getattr(viewer, "window", None)
    if window is None:
        return
    for name in PANELS_TO_LOOK:
        if not any(str(title).startswith(name) for title in window.dock_widgets):
            _, panel = window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
            show_layer_list(panel, layer_list_wanted())


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

    def done(scores: "Scores") -> None:
        if session.prediction is prediction:  # another may have been opened meanwhile
            session.set_scores(scores)

    def ended() -> None:
        if session.prediction is prediction:
            session.set_scoring(False)
            if session.scores is not scores:  # else it was cancelled
                start_scoring(viewer)

    session.set_scoring(True)
    if scores is None:
        run_in_window(viewer, pcc_job(prediction), done, f"Scoring {prediction.name}", ended)
    else:
        run_in_window(viewer, interval_job(prediction, scores), done, f"Intervals of {prediction.name}", ended)


def find_slide(parent: "QWidget", viewer: Any, kind: str) -> None:
    """Ask where the slide of the prediction is, a file or a folder, and show the prediction over it."""
    prediction = session_of(viewer).prediction
    if prediction is None:
        return
    found = dialogs.choose_slide(parent, prediction.name, kind)
    if found is not None:
        _show_over(viewer, found)


def _show_over(viewer: Any, path: Path) -> None:
    """Show the prediction over its slide, with the same gene and colours."""
    session = session_of(viewer)
    prediction = session.prediction
    assert prediction is not None

    def done(slide: "Slide") -> None:
        if session.prediction is prediction:  # another may have been opened meanwhile
            prediction.view = session.view_record()
            session.look_at(prediction, slide, session.scores)
        else:
            slide.close()

    run_in_window(viewer, _slide_job(prediction, path), done, f"Opening {path.name}")


def _slide_job(prediction: "Prediction", path: Path) -> "Job[Slide]":
    yield Progress(f"Opening {path.name}", 0, 0)
    return slide_of(prediction, path)


def find_checkpoint(parent: "QWidget", viewer: Any) -> None:
    """Ask where the checkpoint of the prediction is, and open the prediction with it."""
    session = session_of(viewer)
    prediction = session.prediction
    if prediction is None or prediction.path is None:
        return

    def done(opened: Opened) -> None:
        if session.prediction is prediction:  # another may have been opened meanwhile
            opened.prediction.view = session.view_record()
            show_prediction(viewer, opened.prediction, opened.slide)
        elif opened.slide is not None:
            opened.slide.close()

    found = dialogs.ask_for_checkpoint(parent, prediction.name, prediction.provenance.checkpoint)
    if found is not None:
        slide = session.slide.path if session.slide is not None else None  # else that of the prediction, if it opens
        job = open_prediction(prediction.path, slide, found)
        run_in_window(viewer, job, done, f"Opening {prediction.name}")


def open_synthetic_sample() -> list[Any]:
    """Predict the synthetic section and show it: the sample that needs no network. Its slide is seen at once."""
    import napari

    from napari_cmrcnet.viewer.reader import read_slide
    from napari_cmrcnet.viewer.sample_data import synthetic_paths

    viewer = napari.current_viewer()
    if viewer is None:
        raise UserError("The sample needs a napari window; start napari and choose File > Open Sample.")
    run_in_window(
        viewer, _sample(), lambda made: show_prediction(viewer, made[1], made[0].slide), "Predicting the sample"
    )
    return read_slide(str(synthetic_paths().slide))


def _sample() -> "Job[tuple[Section, Prediction]]":
    """Predict the sample; torch is imported when the job runs, beside the window."""
    yield Progress("Loading the sample", 0, 0)
    import_torch()
    from napari_cmrcnet.evaluation.demo import predict_sample

    return (yield from predict_sample())


def open_breast_cancer() -> list[Any]:
    """Open 10x Genomics' Visium section of a human breast cancer."""
    return _open_public("Visium human breast cancer")


def open_lymph_node() -> list[Any]:
    """Open 10x Genomics' Visium section of a human lymph node."""
    return _open_public("Visium human lymph node")


def open_cmu_small_region() -> list[Any]:
    """Open a small slide of OpenSlide's test data."""
    return _open_public("CMU-1 small region")


def _open_public(title: str) -> list[Any]:
    """Say how large a public section is, download it if the user agrees, and put it into the Predict panel."""
    import napari

    from napari_cmrcnet.viewer.sample_data import is_kept, public_section_job, question_job

    viewer = napari.current_viewer()
    if viewer is None:
        raise UserError("Samples need a napari window; start napari and choose File > Open Sample.")

    def downloaded(paths: "PublicPaths") -> None:
        _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Predict")
        panel.choose(paths.slide, paths.spots)
        viewer.open(str(paths.slide), plugin=PLUGIN)

    def asked(question: str) -> None:
        if dialogs.ask_to_download(None, question):
            run_in_window(viewer, public_section_job(title), downloaded, f"Downloading {title}")

    if is_kept(title):
        run_in_window(viewer, public_section_job(title), downloaded, f"Opening {title}")
    else:
        run_in_window(viewer, question_job(title), asked, title)
    return _nothing_yet(viewer, title)


def _nothing_yet(viewer: Any, name: str) -> list[Any]:
    """Return an empty layer, to be removed once it was added: napari takes a sample without layers for an error."""

    def remove() -> None:
        if name in viewer.layers:
            viewer.layers.remove(name)

    def added(event: Any) -> None:
        if event.value.name == name:
            viewer.layers.events.inserted.disconnect(added)
            QTimer.singleShot(0, remove)

    viewer.layers.events.inserted.connect(added)
    return [([], {"name": name, "visible": False}, "points")]
