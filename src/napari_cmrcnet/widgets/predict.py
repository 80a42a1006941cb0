"""The Predict panel: slide, spots and checkpoint in, a prediction out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCompleter,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_cmrcnet.catalogue.user_models import find_model, user_models
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.suffixes import SPOTS, dialog_filter
from napari_cmrcnet.retrieval.leaks import counted
from napari_cmrcnet.viewer.preview import remove_preview, show_preview
from napari_cmrcnet.viewer.reopen import make_ready
from napari_cmrcnet.viewer.runtime import import_torch
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.choosers import PANEL_WIDTH, CheckList, NamedChoice, PathRow, offer_libraries, offer_pools
from napari_cmrcnet.widgets.dock_panel import DockPanel, while_there
from napari_cmrcnet.widgets.get_model import GetModelDialog
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.keeper import may_leave
from napari_cmrcnet.widgets.open_files import show_case
from napari_cmrcnet.widgets.parts import button, choice, label, scrolled, timer
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.retrieval.inspection import Inspection, Part, Request
    from napari_cmrcnet.retrieval.prediction import Prediction

DEVICES = {
    "Automatic (a GPU if there is one)": "auto",
    "CPU": "cpu",
    "GPU (CUDA)": "cuda",
    "GPU (Apple)": "mps",
}
CHANGED = "The slide was changed since it was looked at. If it is whole now, press Predict again."
SETTLE_MS = 250  # after the last change, before a look at the choices


class PredictPanel(DockPanel):
    """Chooses slide, spots and checkpoint, says what each is and whether they fit, and predicts."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.inspection: Inspection | None = None
        self._inspected_again = False
        self._predicting = False
        self._last_slide: Path | None = None
        self._settle = timer(self, SETTLE_MS, self._inspect)
        self._build()
        self.setMinimumWidth(PANEL_WIDTH)
        self._recall()
        self._on_case()
        self._show_state()
        self.follow(self._on_case, self.session.case_changed)
        layers = napari_viewer.layers
        self.follow(self._on_layers, layers.events.inserted, layers.selection.events.active)
        self._on_layers()

    def request(self) -> "Request":
        """Return what is asked for now."""
        from napari_cmrcnet.retrieval.inspection import Request

        return Request(
            slide=self.slide.path,
            spots=self.spots.path if self.from_file.isChecked() else None,
            checkpoint=self.checkpoint.path and find_model(self.checkpoint.path),
            k=self.k.value() or None,
            mpp=self.mpp.value() or None,
            pitch_um=self.pitch.value(),
            patient=self.patient.text().strip(),
            library=self.library.name if self.from_file.isChecked() else "",
            pool=self.pool.name if self.from_file.isChecked() else "",
        )

    def choose(self, slide: Path, spots: Path | None) -> None:
        """Choose a slide and its spots; None chooses a grid."""
        self.slide.set_path(slide)
        if spots is None:
            self.from_grid.setChecked(True)
        else:
            self.choose_spots(spots)

    def choose_slide(self, path: Path) -> None:
        """Choose a slide, on a grid where no spots were chosen for it."""
        spots_of_another = self.slide.path not in (None, path)
        self.slide.set_path(path)
        if spots_of_another or self.spots.path is None:
            self.from_grid.setChecked(True)

    def choose_spots(self, path: Path) -> None:
        """Choose spots; the slide stays."""
        self.from_file.setChecked(True)
        self.spots.set_path(path)

    def predict(self) -> None:
        """Run the prediction in a worker."""
        inspection = self.inspection
        if self._predicting:
            self.jobs.message("A prediction is still running. Wait for it, or press Cancel.", "error")
            return
        if inspection is None or not inspection.ready or inspection.request != self.request():
            self._show_state()
            return
        if self._slide_has_changed():
            self._look(CHANGED)
            return
        doubts = [check.text for check in inspection.checks if check.asks]
        if doubts and not dialogs.ask_to_predict(self, " ".join(doubts)):
            return
        if self.session.prediction is not None and not may_leave(self.viewer):
            return
        self.setFocus()  # the button that was pressed cannot have the keyboard while it works
        device = DEVICES[self.device.currentText()]
        viewer, slide = self.viewer, inspection.slide
        self._predicting = True
        started = self.jobs.start(
            _prediction(inspection, device),
            lambda prediction: show_case(viewer, prediction, slide),
            "Predicting",
            keep=True,
            ended=while_there(self._on_ended),
        )
        self._predicting = started
        remove_preview(self.viewer)

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        self.slide = PathRow(
            "slide",
            dialogs.SLIDE,
            "The whole-slide image to predict, in a scanner's format or as TIFF, or the folder of a DICOM or "
            "OME-Zarr slide.",
        )
        tip = "Uses the slide of the layer that is selected in napari."
        self.layer_button = button("Use the selected layer", tip, self._use_layer)
        column.addWidget(_boxed("Slide", self.slide, self.layer_button))
        column.addWidget(self._spots_box())
        self.checkpoint = PathRow(
            "checkpoint", (dialogs.FOLDER,), "The trained model: a folder whose name ends in .cmrcnet."
        )
        tip = "Lists your models, and builds others from public data."
        self.get_model = button("Get a model…", tip, self._get_model)
        self._models: GetModelDialog | None = None
        self._offer_models()
        column.addWidget(_boxed("Checkpoint", self.checkpoint, self.get_model))
        column.addWidget(self._more())
        self.checks = CheckList()
        column.addWidget(self.checks)
        self.hint = label()
        column.addWidget(self.hint)
        tip = "Predicts the expression of every gene of the checkpoint at every spot."
        self.run = button("Predict", tip, self.predict)
        column.addStretch(1)
        scroll = scrolled(inside)
        self.jobs = JobBar(self)
        self.jobs.busy_changed.connect(self._show_state)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.run)
        layout.addWidget(self.jobs)
        self.slide.changed.connect(self._on_slide)
        self.spots.changed.connect(self._forget_choices)
        for row in (self.slide, self.spots, self.checkpoint):
            row.changed.connect(self._changed)
        for box in (self.k, self.mpp, self.pitch):
            box.valueChanged.connect(self._changed)
        self.device.currentTextChanged.connect(self._changed)
        self.patient.editingFinished.connect(self._changed)
        self.library.changed.connect(self._changed)
        self.pool.changed.connect(self._changed)
        self.from_file.toggled.connect(self._changed)

    def _spots_box(self) -> QGroupBox:
        self.spots = PathRow(
            "spots",
            (dialog_filter("Spots", SPOTS), dialogs.FOLDER),
            "An .h5ad file, an output of Space Ranger or Xenium (its folder or any file in it), or first-generation ST "
            "counts.",
        )
        self.library = NamedChoice("Section", "What to predict of a file that holds several.")
        self.pool = NamedChoice(
            "Pooled to",
            "Models are trained on spots of 55 to 100 µm. The counts of cells and small bins are summed in spots of "
            "such a size, and predicted there.",
        )
        self.from_file = QRadioButton("from a file")
        self.from_file.setToolTip("Spots with measured expression, or only their positions.")
        self.from_grid = QRadioButton("on a grid over the tissue")
        self.from_grid.setToolTip("For a slide without measurements: finds the tissue and covers it with spots.")
        self.from_file.setChecked(True)
        self.pitch = QDoubleSpinBox()
        self.pitch.setRange(5, 2000)
        self.pitch.setValue(100)
        self.pitch.setSuffix(" µm apart")
        self.pitch.setToolTip("The distance between neighbouring spots, centre to centre. Visium has 100 µm.")
        choice = QWidget()
        row = QHBoxLayout(choice)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.from_file, self.from_grid):
            row.addWidget(widget)
        row.addStretch(1)
        return _boxed("Spots", choice, self.spots, self.library, self.pool, self.pitch)

    def _more(self) -> QCollapsible:
        self.k = QSpinBox()
        self.k.setRange(0, 100_000)
        self.k.setSpecialValueText("set by the checkpoint")
        self.k.setToolTip(
            "Number of training spots averaged for each value. More give smoother maps. The paper uses 50 to 500 "
            "with equal weights. The tuned variant uses 200 and gives similar ones more weight."
        )
        self.device = choice("Where the image encoder runs.", DEVICES)
        self.mpp = QDoubleSpinBox()
        self.mpp.setDecimals(4)
        self.mpp.setRange(0, 10)
        self.mpp.setSingleStep(0.05)
        self.mpp.setSpecialValueText("found automatically")
        self.mpp.setSuffix(" µm per pixel")
        self.mpp.setToolTip("Size of a full-resolution pixel, if the files do not give it or are wrong.")
        self.patient = QLineEdit()
        self.patient.setPlaceholderText("name or number, optional")
        self.patient.setToolTip("Patient of the slide. It is compared with the patients of the training sections.")
        body = QWidget()
        form = QFormLayout(body)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for name, widget in (
            ("Neighbours (k)", self.k),
            ("Device", self.device),
            ("Pixel size", self.mpp),
            ("Patient", self.patient),
        ):
            form.addRow(name, widget)
        self.more = more = QCollapsible("More settings")
        more.addWidget(body)
        body.setEnabled(False)  # what is folded away is passed over by the Tab key
        more.toggled.connect(body.setEnabled)
        return more

    def _recall(self) -> None:
        k, pitch, device, grid = recall("k", 0), recall("pitch_um", 100.0), recall("device", ""), recall("grid", False)
        self.k.setValue(k)  # from here on, each change remembers them all
        self.pitch.setValue(pitch)
        if device in DEVICES:
            self.device.setCurrentText(device)
        self.from_grid.setChecked(grid)
        for row in (self.slide, self.spots, self.checkpoint):
            row.recall()

    def _on_case(self) -> None:
        """Choose slide and spots of a section that was opened to be looked at, and none of another's."""
        case = self.session.case
        if case is not None and case.prediction is None:
            about = case.provenance
            self.slide.set_path(about.slide or None)
            self.choose_spots(Path(about.spots))
            if about.library:
                offer_libraries(self.library, (about.library,))
                self.library.box.setCurrentIndex(1)
            if case.unpooled is not None:
                offer_pools(self.pool, case.poolable)
                self.pool.choose(about.pool)

    def _forget_choices(self) -> None:
        """Forget what was chosen of another file of spots."""
        offer_libraries(self.library, ())
        offer_pools(self.pool, "")

    def _on_slide(self) -> None:
        """Forget what was typed of another slide: its patient and the size of its pixels are not this one's."""
        path = self.slide.path
        if path is None:
            return
        if self._last_slide not in (None, path):
            self.patient.clear()
            self.mpp.setValue(0)
        self._last_slide = path

    def _changed(self, *_: Any) -> None:
        remember(
            {
                "k": self.k.value(),
                "pitch_um": self.pitch.value(),
                "device": self.device.currentText(),
                "grid": self.from_grid.isChecked(),
            }
        )
        if not self.from_grid.isChecked() or not self._known:
            remove_preview(self.viewer)  # it is of what was chosen before
        self._settle.start()
        self._show_state()

    def _inspect(self) -> None:
        """Look at the choices in a worker; once more at its end if they changed meanwhile."""
        if self.jobs.busy:
            self._inspected_again = True
            return
        request = self.request()
        if (request.slide is None and request.checkpoint is None) or (
            self.inspection is not None and self.inspection.request == request
        ):
            self._preview()
            self._show_state()
            return
        self._look()

    def _look(self, say: str = "") -> None:
        """Look at the choices in a worker, and say something when it is done."""

        def ended() -> None:
            while_there(self._on_ended)()
            if say and isalive(self):
                self.jobs.message(say)

        self.jobs.start(_inspection(self.request(), self.inspection), self._on_inspected, "Looking", ended=ended)

    def _slide_has_changed(self) -> bool:
        """Whether the slide is not as it was when it was looked at."""
        assert self.inspection is not None
        assert self.inspection.slide is not None
        try:
            self.inspection.slide.check_unchanged()
        except UserError:
            return True
        return False

    def _on_inspected(self, inspection: "Inspection") -> None:
        self.inspection = inspection
        rows: dict[Part, PathRow] = {"slide": self.slide, "spots": self.spots, "checkpoint": self.checkpoint}
        for part, row in rows.items():
            row.describe(inspection.lines.get(part, ""), inspection.problems.get(part))
        if inspection.request.spots == self.request().spots:
            offer_libraries(self.library, inspection.libraries)
            offer_pools(self.pool, inspection.unit)
        self.checks.show_checks(inspection.checks)
        self._show_state()
        self._preview()

    @property
    def _known(self) -> bool:
        """Whether what is chosen now has been looked at."""
        return self.inspection is not None and self.inspection.request == self.request()

    def _preview(self) -> None:
        """Show the spots of the grid that is chosen, unless the window shows another section."""
        section = self.inspection.section if self.inspection is not None else None
        if section is None or not self._known or not self.from_grid.isChecked():
            return
        here = self.session.case
        if not show_preview(self.viewer, section, self.session.slide, free=here is None) and here is not None:
            self.jobs.message(f"The grid is not drawn while the window shows {here.name}.")

    def _on_ended(self) -> None:
        self._predicting = False
        again, self._inspected_again = self._inspected_again, False
        if again:
            said = self.jobs.text
            self._inspect()
            self.jobs.message(said)  # how the run ended is still to be read
        self._show_state()

    def _show_state(self, *_: Any) -> None:
        """Say what to do next, and let Predict be pressed when it can."""
        request = self.request()
        by_file = self.from_file.isChecked()
        self.spots.edit.setEnabled(by_file)
        self.spots.browse.setEnabled(by_file)
        self.pitch.setEnabled(not by_file)
        known = self.inspection is not None and self.inspection.request == request
        ready = known and self.inspection is not None and self.inspection.ready
        missing = [
            name for name, path in (("a slide", request.slide), ("a checkpoint", request.checkpoint)) if path is None
        ]
        if by_file and request.spots is None:
            missing.insert(1 if request.slide is None else 0, "the spots (or a grid)")
        if missing:
            need = "" if request.checkpoint else " You need a trained model: get one, or train your own."
            self.hint.setText(f"Choose {' and '.join(missing)} to predict.{need}")
        else:
            looking = not known and (self.jobs.busy or self._settle.isActive())
            self.hint.setText("Checking your choices …" if looking else "")
        self.hint.setVisible(bool(self.hint.text()))
        warnings = sum(not check.ok for check in self.inspection.checks) if known and self.inspection is not None else 0
        self.run.setText(f"Predict ({counted(warnings)})" if warnings else "Predict")
        self.run.setEnabled(ready and not missing and not self.jobs.busy)

    def _get_model(self) -> None:
        """Show the dialog that lists, builds and adds models."""
        if self._models is None:
            self._models = GetModelDialog(self)
            self._models.chosen.connect(self._on_model)
        self._models.refresh()
        self._models.show()
        self._models.raise_()

    def _on_model(self, path: Path) -> None:
        self._offer_models()
        self.checkpoint.set_path(path)

    def _offer_models(self) -> None:
        """Offer the user's models by name where the checkpoint is typed."""
        completer = QCompleter(list(user_models()), self.checkpoint.edit)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.checkpoint.edit.setCompleter(completer)

    def _on_layers(self, *_: Any) -> None:
        """Offer the slide that is the selected layer; take it where none is chosen yet."""
        path = slide_path(self.viewer.layers.selection.active)
        self.layer_button.setEnabled(path is not None)
        if path is not None and self.slide.path is None:
            self.slide.set_path(path)

    def _use_layer(self) -> None:
        path = slide_path(self.viewer.layers.selection.active)
        if path is not None:
            self.slide.set_path(path)


def _boxed(title: str, *widgets: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    for widget in widgets:
        layout.addWidget(widget)
    return box


def _inspection(request: "Request", before: "Inspection | None") -> "Job[Inspection]":
    """Inspect; what it needs is imported beside the window."""
    yield Progress("Checking your choices", 0, 0)
    from napari_cmrcnet.retrieval.inspection import inspect

    return (yield from inspect(request, before))


def _prediction(inspection: "Inspection", device: str) -> "Job[Prediction]":
    """Load the checkpoint and predict; torch is imported here, in the worker."""
    yield Progress("Loading the checkpoint", 0, 0)
    import_torch()
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig

    path = inspection.request.checkpoint
    assert isinstance(path, Path)
    assert inspection.section is not None
    checkpoint = Checkpoint.load(path)
    section, k, checks = inspection.section, inspection.request.k, inspection.checks
    prediction = yield from predict(section, checkpoint, PredictConfig(k=k, device=device), checks=checks)
    make_ready(prediction)
    return prediction
