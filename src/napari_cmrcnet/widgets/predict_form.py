"""The choices of the Predict panel: slide, spots, checkpoint and settings, each with a line that says what it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCompleter, QFormLayout, QGroupBox, QLineEdit, QRadioButton, QWidget
from superqt import QCollapsible

from napari_cmrcnet.catalogue.user_models import find_model, user_models
from napari_cmrcnet.common.suffixes import SPOTS, dialog_filter
from napari_cmrcnet.retrieval.inspection import Inspection, Part, Request
from napari_cmrcnet.sections.pixel_size import GIVEN
from napari_cmrcnet.sections.pooling import pooled_from
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.choosers import NamedChoice, PathRow, offer_libraries, offer_pools
from napari_cmrcnet.widgets.get_model import GetModelDialog
from napari_cmrcnet.widgets.parts import boxed, button, choice, form_of, in_row, number, stack, tipped
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

DEVICES = {
    "Automatic (a GPU if there is one)": "auto",
    "CPU": "cpu",
    "GPU (CUDA)": "cuda",
    "GPU (Apple)": "mps",
}


class PredictForm(QWidget):
    """What is to be predicted, of what, by which checkpoint. It is remembered from one day to the next.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose selected layer may be the slide.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self._last_slide: Path | None = None
        self._models: GetModelDialog | None = None
        self._build()
        self._connect()
        self._recall()

    def request(self) -> "Request":
        """Return what is asked for now."""
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

    def take_case(self, case: "Case") -> None:
        """Choose slide and spots of a case that was opened, as it was made, and the checkpoint that predicted it."""
        about = case.provenance
        self.slide.set_path(about.slide or None)
        self.patient.setText(about.patient)
        self.mpp.setValue(about.mpp if about.mpp_source == GIVEN else 0)
        if about.spots == about.slide:
            self.from_grid.setChecked(True)
        else:
            self.choose_spots(Path(about.spots))
        if about.checkpoint and self.checkpoint.path is None:
            self.checkpoint.set_path(about.checkpoint)
        if about.library:
            offer_libraries(self.library, (about.library,))
            self.library.box.setCurrentIndex(1)
        if case.unpooled is not None:
            offer_pools(self.pool, case.poolable)
            self.pool.choose(about.pool)

    def take_layer(self, *_: Any) -> None:
        """Offer the slide that is the selected layer; take it where none is chosen yet."""
        self.layer_button.setEnabled(self._of_layer is not None)
        if self.slide.path is None:
            self.slide.set_path(self._of_layer)

    def describe(self, inspection: "Inspection") -> None:
        """Say what each file is or why it cannot be used, and offer what can be chosen of it."""
        rows: dict[Part, PathRow] = {"slide": self.slide, "spots": self.spots, "checkpoint": self.checkpoint}
        for part, row in rows.items():
            row.describe(inspection.lines.get(part, ""), inspection.problems.get(part))
        if inspection.request.spots == self.request().spots:
            offer_libraries(self.library, inspection.libraries)
            if inspection.section is not None:  # else what was chosen stays, to be changed
                offer_pools(self.pool, pooled_from(inspection.section.spots))

    def _build(self) -> None:
        self.slide = PathRow(
            "slide",
            dialogs.SLIDE,
            "The whole-slide image to predict, in a scanner's format or as TIFF, or the folder of a DICOM or "
            "OME-Zarr slide.",
        )
        tip = "Uses the slide of the layer that is selected in napari."
        self.layer_button = button("Use the selected layer", tip, lambda: self.slide.set_path(self._of_layer))
        self.checkpoint = PathRow(
            "checkpoint",
            (dialogs.FOLDER,),
            "The trained model: a folder whose name ends in .cmrcnet, or that of the weights of Path2Space, STPath or "
            "DeepSpot-M.",
        )
        tip = "Lists your models, and builds others from public data."
        self.get_model = button("Get a model…", tip, self._get_model)
        self._offer_models()
        stack(
            self,
            boxed("Slide", self.slide, self.layer_button),
            self._spots_box(),
            boxed("Checkpoint", self.checkpoint, self.get_model),
            self._more(),
        )

    def _connect(self) -> None:
        self.slide.changed.connect(self._on_slide)
        self.spots.changed.connect(self._forget_choices)
        boxes = (self.k.valueChanged, self.mpp.valueChanged, self.pitch.valueChanged, self.device.currentTextChanged)
        rows = [row.changed for row in (self.slide, self.spots, self.checkpoint, self.library, self.pool)]
        for signal in (*rows, *boxes, self.patient.editingFinished, self.from_file.toggled):
            signal.connect(self._changed)

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
        tip = "Spots with measured expression, or only their positions."
        self.from_file = tipped(QRadioButton("from a file"), tip)
        tip = "For a slide without measurements: finds the tissue and covers it with spots."
        self.from_grid = tipped(QRadioButton("on a grid over the tissue"), tip)
        self.from_file.setChecked(True)
        tip = "The distance between neighbouring spots, centre to centre. Visium has 100 µm."
        self.pitch = number(tip, 5, 2000, decimals=2, suffix=" µm apart")
        self.pitch.setValue(100)
        source = in_row(self.from_file, self.from_grid, None)
        return boxed("Spots", source, self.spots, self.library, self.pool, self.pitch)

    def _more(self) -> QCollapsible:
        self.k = number(
            "Number of training spots averaged for each value. More give smoother maps. The paper uses 50 to 500 "
            "with equal weights. The tuned variant uses 200 and gives similar ones more weight.",
            0,
            100_000,
            unset="set by the checkpoint",
        )
        self.device = choice("Where the image encoder runs.", DEVICES)
        tip = "Size of a full-resolution pixel, if the files do not give it or are wrong."
        self.mpp = number(tip, 0, 10, step=0.05, decimals=4, suffix=" µm per pixel", unset="found automatically")
        tip = "Patient of the slide. It is compared with the patients of the training sections."
        self.patient = tipped(QLineEdit(), tip)
        self.patient.setPlaceholderText("name or number, optional")
        body = QWidget()
        rows = ("Neighbours (k)", self.k), ("Device", self.device), ("Pixel size", self.mpp), ("Patient", self.patient)
        form = form_of(*rows, inside=body)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        # Its own arrows are black in a dark theme, too.
        self.more = more = QCollapsible("▶ More settings", expandedIcon=" ", collapsedIcon=" ")
        more.toggleButton().setAccessibleName("More settings")
        more.toggled.connect(lambda shown: more.setText(f"{'▼' if shown else '▶'} More settings"))
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
        self._show_source()

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
        self._show_source()
        self.changed.emit()

    def _show_source(self) -> None:
        by_file = self.from_file.isChecked()
        self.spots.edit.setEnabled(by_file)
        self.spots.browse.setEnabled(by_file)
        self.pitch.setEnabled(not by_file)

    def _get_model(self) -> None:
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

    @property
    def _of_layer(self) -> Path | None:
        return slide_path(self.viewer.layers.selection.active)
