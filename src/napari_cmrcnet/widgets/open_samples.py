"""File > Open Sample: the synthetic section that comes with the software, and public sections."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.common.text import size_text
from napari_cmrcnet.evaluation.demo import predict_sample, sample_parts
from napari_cmrcnet.viewer.runtime import import_torch
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.dock_panel import PLUGIN, open_panel
from napari_cmrcnet.widgets.jobs import run_for_case, run_in_window
from napari_cmrcnet.widgets.keeper import may_leave, run_to_replace
from napari_cmrcnet.widgets.open_files import show_case, show_opened

if TYPE_CHECKING:
    from napari_cmrcnet.catalogue.public_data import PublicSection
    from napari_cmrcnet.common.progress import Job
    from napari_cmrcnet.viewer.reopen import Opened


def open_synthetic_sample() -> list[Any]:
    """Open the synthetic section and predict it: the sample that needs no network.

    Its slide is seen at once, what was measured soon after; the prediction is added when it is made.
    """
    import napari

    from napari_cmrcnet.viewer.reader import read_slide

    viewer = napari.current_viewer()
    if viewer is None:
        raise UserError("The sample needs a napari window; start napari and choose File > Open Sample.")
    if not may_leave(viewer):
        return _nothing_yet(viewer, "Sample")

    def measured(opened: "Opened") -> None:
        show_case(viewer, opened.case, opened.slide)
        run_for_case(viewer, _sample(), partial(show_opened, viewer), "Predicting the sample")

    run_to_replace(viewer, _opening(), measured, "Opening the sample")
    return read_slide(str(sample_parts()[0].slide))


def _opening() -> "Job[Opened]":
    """Open the sample as it was measured, with the markers of its model, of which the first is shown.

    What reads it is imported when the job runs, beside the window.
    """
    yield Progress("Loading the sample", 0, 0)
    from napari_cmrcnet.retrieval.card import read_card
    from napari_cmrcnet.viewer.reopen import open_measured

    row, checkpoint = sample_parts()
    assert row.spots is not None, "the sample was measured"
    opened = yield from open_measured(row.spots)
    card, _ = read_card(checkpoint)
    opened.case.provenance = replace(opened.case.provenance, panel=card.panel)
    return opened


def _sample() -> "Job[Opened]":
    """Predict the sample; torch is imported when the job runs, beside the window."""
    yield Progress("Loading the model", 0, 0)
    import_torch()
    from napari_cmrcnet.viewer.reopen import Opened

    section, prediction = yield from predict_sample()
    return Opened(prediction, section.slide)


def _open_public(title: str) -> list[Any]:
    """Say how large a public section is, download it if the user agrees, and put it into the Predict panel."""
    import napari

    from napari_cmrcnet.catalogue.public_data import PUBLIC_SECTIONS, download

    viewer, section = napari.current_viewer(), PUBLIC_SECTIONS[title]
    if viewer is None:
        raise UserError("Samples need a napari window; start napari and choose File > Open Sample.")

    def downloaded(_: None) -> None:
        viewer.open(str(section.slide), plugin=PLUGIN)
        open_panel(viewer, "Predict").form.choose(section.slide, section.spots)

    def asked(question: str) -> None:
        if dialogs.ask(None, "Download?", question):
            run_in_window(viewer, download(section), downloaded, f"Downloading {title}")

    if section.missing:
        run_in_window(viewer, question_job(section), asked, title)
    else:
        run_in_window(viewer, download(section), downloaded, f"Opening {title}")
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


open_breast_cancer = partial(_open_public, "Visium human breast cancer")
open_lymph_node = partial(_open_public, "Visium human lymph node")
open_cmu_small_region = partial(_open_public, "CMU-1 small region")


def question_job(section: "PublicSection") -> "Job[str]":
    """Ask how large a public section is, and return the question to put to the user before it is downloaded.

    Raises
    ------
    UserError
        If the network or the site cannot be reached.
    """
    from napari_cmrcnet.catalogue.public_data import to_receive

    size = size_text(sum((yield from to_receive(section.title, section.files, section.folder)).values()))
    return f"{section.title} ({section.source}) is {size} to download. It is kept in {section.folder}. Download it now?"
