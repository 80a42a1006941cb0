"""The Predict panel: slide, spots and checkpoint in, a prediction out."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.inspection import Inspection, inspect
from napari_cmrcnet.viewer.preview import remove_preview, show_preview
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.viewer.reopen import make_ready
from napari_cmrcnet.viewer.runtime import import_torch
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.choosers import PANEL_WIDTH, check_lines
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.keeper import may_leave, save_prediction
from napari_cmrcnet.widgets.open_files import show_case
from napari_cmrcnet.widgets.parts import button, label, scrolled_parts, stack, timer
from napari_cmrcnet.widgets.predict_form import DEVICES, PredictForm

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.slides.slide import Slide

CHANGED = "The slide has changed since it was checked. If it is complete now, press Predict again."
SETTLE_MS = 250  # after the last change, before a look at the choices


class PredictPanel(DockPanel):
    """Chooses slide, spots and checkpoint, says what each is and whether they fit, and predicts."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.inspection: Inspection | None = None
        self._inspected_again = False
        self._settle = timer(self, SETTLE_MS, self._inspect)
        self._build()
        self._taken = self.form.slide.path  # the slide that nobody chose here: remembered, or of a case
        self.setMinimumWidth(PANEL_WIDTH)
        self._on_case()
        self._changed()
        self.follow(self._on_case, self.session.case_changed)
        layers = napari_viewer.layers
        self.follow(self.form.take_layer, layers.events.inserted, layers.selection.events.active)
        self.form.take_layer()

    def predict(self) -> None:
        """Run the prediction in a worker."""
        inspection = self._known
        if inspection is None or not inspection.ready:
            self._show_state()
            return
        assert inspection.slide is not None, "it is ready"
        try:
            inspection.slide.check_unchanged()
        except UserError:
            self._look()
            self.jobs.message(CHANGED)
            return
        doubts = " ".join(check.text for check in inspection.checks if check.asks)
        if doubts and not dialogs.ask(self, "Predict anyway?", f"{doubts}\n\nPredict anyway?"):
            return
        if (self.session.prediction is not None or self._of_another) and not may_leave(self.viewer):
            return
        self.setFocus()  # the button that was pressed cannot have the keyboard while it works
        device = DEVICES[self.form.device.currentText()]
        show, ended = partial(_show, self.viewer, inspection.slide), self.layers.cases.take_back
        self.jobs.start(_prediction(inspection, device), show, "Predicting", keep=True, ended=ended)
        remove_preview(self.viewer)

    def _build(self) -> None:
        self.form, self.checks, self.hint = PredictForm(self.viewer), label(rich=True, selectable=True), label()
        tip = "Predicts the expression of every gene of the checkpoint at every spot."
        self.run = button("Predict", tip, self.predict)
        self.jobs = JobBar(self)
        self.jobs.busy_changed.connect(self._on_busy)
        self.form.changed.connect(self._changed)
        choices = scrolled_parts(self.form, self.checks, self.hint, None)
        stack(self, (choices, 1), self.run, self.jobs, margins=True)

    def _on_case(self) -> None:
        """Choose what a case was made of, to predict it or to predict it again.

        A slide that was chosen here stays while predictions are opened; that it is another one is said.
        """
        case = self.session.case
        if case is not None and (case.prediction is None or self.form.slide.path in (None, self._taken)):
            self.form.take_case(case)
            self._taken = self.form.slide.path
        self._show_state()

    @property
    def _of_another(self) -> str:
        """The name of the slide that is chosen, where it is not that of the case that is shown; else ``""``."""
        case, slide, shown = self.session.case, self.form.slide.path, self.session.slide
        if case is None or slide is None or not case.provenance.slide:
            return ""
        its = (Path(case.provenance.slide), shown.path.resolve() if shown is not None else None)
        return "" if slide.resolve() in its else slide.name

    def _changed(self) -> None:
        if not self.form.from_grid.isChecked() or not self._known:
            remove_preview(self.viewer)  # it is of what was chosen before
        self._settle.start()
        self._show_state()

    def _inspect(self) -> None:
        """Look at the choices in a worker; once more at its end if they changed meanwhile."""
        if self.jobs.busy:
            self._inspected_again = True
            return
        request = self.form.request()
        if self._known is None and (request.slide is not None or request.checkpoint is not None):
            self._look()
        else:
            self._preview()
            self._show_state()

    def _look(self) -> None:
        self.jobs.start(inspect(self.form.request(), self.inspection), self._on_inspected, "Checking your choices")

    def _on_inspected(self, inspection: "Inspection") -> None:
        self.inspection = inspection
        self.form.describe(inspection)
        self.checks.setText(check_lines(inspection.checks))
        self._show_state()
        self._preview()

    @property
    def _known(self) -> Inspection | None:
        """What was found out about the choices, None where they have changed since."""
        found = self.inspection
        return found if found is not None and found.request == self.form.request() else None

    def _preview(self) -> None:
        """Show the spots of the grid that is chosen, unless the window shows another section."""
        known, here = self._known, self.session.case
        if known is None or known.section is None or not self.form.from_grid.isChecked():
            return
        if not show_preview(self.viewer, self.session, known.section) and here is not None:
            self.jobs.message(f"The grid is not drawn while the window shows {here.name}.")

    def _on_busy(self, busy: bool) -> None:
        if not busy and self._inspected_again:
            said, self._inspected_again = self.jobs.text, False
            self._inspect()
            self.jobs.message(said)  # how the run ended is still to be read
        self._show_state()

    def _show_state(self) -> None:
        """Say what to do next, and let Predict be pressed when it can."""
        request = self.form.request()
        known = self._known
        spots = request.spots or self.form.from_grid.isChecked()
        needed = {"a slide": request.slide, "the spots (or a grid)": spots, "a checkpoint": request.checkpoint}
        missing = [name for name, there in needed.items() if not there]
        if missing:
            need = "" if request.checkpoint else " You need a trained model: get one, or train your own."
            self.hint.setText(f"Choose {' and '.join(missing)} to predict.{need}")
        else:
            looking = known is None and (self.jobs.busy or self._settle.isActive())
            self.hint.setText("Checking your choices…" if looking else "")
        another = self._of_another
        if another and not missing and self.session.case is not None:
            self.hint.setText(
                f"⚠ {another} is not the slide of {self.session.case.name}, which the window shows. {self.hint.text()}"
            )
        self.hint.setVisible(bool(self.hint.text()))
        warnings = 0 if known is None else sum(not check.ok for check in known.checks)
        what = "Predict another slide" if another else "Predict"
        self.run.setText(f"{what} ({count_text(warnings, 'warning')})" if warnings else what)
        self.run.setEnabled(known is not None and known.ready and not missing and not self.jobs.busy)


def _show(viewer: Any, slide: "Slide | None", prediction: "Prediction") -> None:
    """Show a prediction; where what was made meanwhile over another case is to stay, let it be saved instead."""
    from napari.utils.notifications import show_error

    case = session_of(viewer).case
    measured = case is not None and case.prediction is None and prediction.is_of_section(case)  # its regions go on
    if case is None or measured or may_leave(viewer, again=True):
        show_case(viewer, prediction, slide)
        return
    title = f"{case.name} stays open. Save the prediction of {prediction.name}, to open it later"
    while True:
        try:
            save_prediction(viewer, prediction, title)
        except UserError as error:  # it may have taken hours: another place is asked for
            show_error(str(error))
        else:
            return


def _prediction(inspection: "Inspection", device: str) -> "Job[Prediction]":
    """Load the checkpoint and predict; torch is imported here, in the worker."""
    yield Progress("Loading the checkpoint", 0, 0)
    import_torch()
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.retrieval.ready import predict_ready

    path = inspection.request.checkpoint
    assert isinstance(path, Path)
    assert inspection.section is not None
    section, config = inspection.section, PredictConfig(k=inspection.request.k, device=device)
    if inspection.predictor is not None:
        prediction = yield from predict_ready(section, path, inspection.predictor, config)
    else:
        prediction = yield from predict(section, Checkpoint.load(path), config, checks=inspection.checks)
    make_ready(prediction)
    return prediction
