"""Class and name of the selected regions."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLineEdit, QWidget
from superqt.utils import signals_blocked

from napari_cmrcnet.sections.regions import CLASSES
from napari_cmrcnet.widgets.parts import bare, form_of

if TYPE_CHECKING:
    from napari_cmrcnet.sections.regions import Region

_MOST = 100  # characters


class RegionForm(QWidget):
    """A line for the class, with those seen so far to choose from, and one for the name.

    Notes
    -----
    Signals: ``classified(str)`` and ``renamed(str)`` when the user has chosen or typed another class or name.
    """

    classified = Signal(str)
    renamed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[object, ...] = ()
        self.kind = QComboBox()
        self.kind.setEditable(True)
        self.kind.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.kind.setToolTip(
            "The class of the selected regions, or of regions drawn next. Choose one, or type a new one."
        )
        self.kind.lineEdit().setMaxLength(_MOST)
        self.name = QLineEdit()
        self.name.setToolTip("The name of the selected region.")
        self.name.setMaxLength(_MOST)
        bare(form_of(("Class", self.kind), ("Name", self.name), inside=self))
        self.suggest(())
        self.show_regions((), ())
        self.kind.activated.connect(lambda _index: self.classified.emit(self.classification))
        self.kind.lineEdit().editingFinished.connect(self._on_class)
        self.name.editingFinished.connect(self._on_name)

    @property
    def classification(self) -> str:
        """The class in the line, ``""`` for none."""
        return " ".join(self.kind.currentText().split())

    def suggest(self, classes: Iterable[str]) -> None:
        """Offer these classes after those that are always offered."""
        with signals_blocked(self.kind):
            text = self.kind.currentText() if self.kind.count() else ""
            self.kind.clear()
            self.kind.addItems(list(dict.fromkeys((*CLASSES, *filter(None, classes)))))
            self.kind.setCurrentText(text)

    def show_regions(self, indices: Sequence[int], regions: "Sequence[Region]") -> None:
        """Show class and name of the selected regions. What is being typed for the same ones is left alone."""
        shown = (tuple(indices), tuple((region.name, region.classification) for region in regions))
        if shown == self._shown:
            return
        self._shown = shown
        one = regions[0].name if len(regions) == 1 else ""
        self.name.setEnabled(len(regions) == 1)
        self.name.setText(one)
        self.name.setPlaceholderText(f"{len(regions)} regions are selected" if regions else "Select a region")
        classes = {region.classification for region in regions}
        self.kind.lineEdit().setPlaceholderText("several classes" if len(classes) > 1 else "no class")
        if classes:  # else the line says of which class the next region is
            with signals_blocked(self.kind):
                self.kind.setCurrentText(classes.pop() if len(classes) == 1 else "")
        self.kind.lineEdit().setModified(False)

    def _on_class(self) -> None:
        if self.kind.lineEdit().isModified():  # not where the line was only walked through
            self.kind.lineEdit().setModified(False)
            self.classified.emit(self.classification)

    def _on_name(self) -> None:
        name = " ".join(self.name.text().split())
        if self.name.isModified() and name:
            self.name.setModified(False)
            self.renamed.emit(name)
