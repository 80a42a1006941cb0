"""The dialog behind "Get a model…": the user's models, those to build from public data, and those of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QDialog,
    QInputDialog,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from napari_cmrcnet.catalogue.recipe import ModelRecipe, model_recipes
from napari_cmrcnet.catalogue.user_models import models_folder, place_of, user_models
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.viewer.runtime import import_torch
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.parts import button, in_row, label, stack

if TYPE_CHECKING:
    from napari_cmrcnet.catalogue.left_out import LeftOut
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint

COLUMNS = ("Model", "Tissue", "Data", "Licence")
WIDTHS = (180, 120, 190)
BUILD, GO_ON, USE = "Build", "Continue building", "Use"
OWN = "Your models"


class GetModelDialog(QDialog):
    """Offers models; what was built or added, or is chosen, is handed over by ``chosen``.

    Closed while something is built it is only hidden: the work goes on, and opened again it shows how far it is.

    Parameters
    ----------
    parent : QWidget, optional
        The panel.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Get a model")
        self.resize(680, 520)
        self.recipes: Mapping[str, ModelRecipe] = model_recipes()
        self.list = QTreeWidget()
        self.list.setColumnCount(len(COLUMNS))
        self.list.setHeaderLabels(list(COLUMNS))
        for column, width in enumerate(WIDTHS):
            self.list.setColumnWidth(column, width)
        self.list.setRootIsDecorated(False)
        self.list.currentItemChanged.connect(self._on_current)
        self.about = label(selectable=True)
        self.run = button(BUILD, "", self._on_run)
        tip = "Adds a packed model: a file NAME.cmrcnet.zip."
        self.from_file = button("Add from a file…", tip, self._on_file)
        tip = "Downloads a packed model, or lists the models of an index."
        self.from_address = button("Add from an address…", tip, self._on_address)
        self.jobs = JobBar(self)
        self.jobs.busy_changed.connect(self._on_current)
        buttons = in_row(self.from_file, self.from_address, None, self.run)
        stack(self, (self.list, 1), self.about, buttons, self.jobs, margins=True)
        self.refresh()

    def refresh(self) -> None:
        """List what there is now."""
        self.list.clear()
        public = [(key, each.tissue, each.size, each.licence) for key, each in self.recipes.items()]
        own = [(name, "", "on this computer", "") for name in user_models()]
        for title, rows in ((OWN, own), ("Can be built from public data", public)):
            group = QTreeWidgetItem(self.list, [title])
            group.setFlags(Qt.ItemFlag.ItemIsEnabled)
            group.setFirstColumnSpanned(True)
            font = group.font(0)
            font.setBold(True)
            group.setFont(0, font)
            group.setHidden(not rows)
            for cells in rows:
                row = QTreeWidgetItem(group, cells)
                for column, cell in enumerate(cells):
                    row.setToolTip(column, cell)
        self.list.expandAll()
        self.list.setCurrentItem(self.list.topLevelItem(0 if own else 1).child(0))

    def select(self, name: str) -> None:
        """Select the row of a model; one of the user's where both have it."""
        found = self.list.findItems(name, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
        if found:
            self.list.setCurrentItem(found[0])

    def build(self, key: str) -> None:
        """Build a model in the user's folder, or go on with it, after the user has agreed to the download."""
        recipe, out = self.recipes[key], place_of(key)

        def on_size(said: str) -> None:
            question = f"{said} Download it, and build the model?"
            if not said or dialogs.ask(self, "Download?", question):
                job, title = _building(recipe, out), f"Building {key}"
                self.jobs.start(job, self._on_built, title, lasting=True, ended=self._on_ended)

        self.jobs.start(_asking_size(recipe, out), on_size, f"Asking for {recipe.title}")

    def _on_ended(self) -> None:
        """After Cancel say what is true here: what was done is kept."""
        if isalive(self) and self.jobs.text.startswith("Cancelled"):
            self.jobs.message("Cancelled. What was downloaded and computed is kept; press the button to continue.")

    @property
    def _current(self) -> tuple[str, bool]:
        row = self.list.currentItem()
        return ("", False) if row is None or row.parent() is None else (row.text(0), row.parent().text(0) == OWN)

    def _on_current(self, *_: Any) -> None:
        if not isalive(self):
            return
        name, own = self._current
        begun = not own and bool(name) and (models_folder() / f"{name}.building").is_dir()
        self.run.setText(USE if own else GO_ON if begun else BUILD)
        self.run.setEnabled(bool(name) and (own or not self.jobs.busy))
        for each in (self.from_file, self.from_address):
            each.setEnabled(not self.jobs.busy)
        self.about.setText(self._said(name, own))

    def _said(self, name: str, own: bool) -> str:
        if own:
            return f"{user_models().get(name, '')}"
        recipe = self.recipes.get(name)
        if recipe is None:
            return ""
        spots = f" {count_text(recipe.spots, 'spot')}." if recipe.spots else ""
        return "\n".join(
            (
                f"{recipe.title}, {recipe.platform}. {recipe.size}.{spots} {recipe.licence}, {recipe.source}.",
                f"Access: {recipe.access}. Checksums: {recipe.checksums}.",
                *recipe.notes,
                f"It is kept with its data in {models_folder()}. You are asked before anything is downloaded. "
                "Encoding takes about 0.1 s per spot on a laptop.",
            )
        )

    def _on_run(self) -> None:
        name, own = self._current
        if own:
            self.chosen.emit(user_models()[name])
            self.hide()
        elif name:
            self.build(name)

    def _on_built(self, built: "tuple[Checkpoint, LeftOut]") -> None:
        checkpoint, left_out = built
        path = checkpoint.path
        assert path is not None
        self._on_added(path)
        self.jobs.message(f"{path.name} was built. {left_out.words}")

    def _on_added(self, path: Path) -> None:
        name = path.name.removesuffix(".cmrcnet")
        self.refresh()
        self.select(name)
        self.chosen.emit(path)
        self.jobs.message(f"{name} was added, and is chosen in the Predict panel.")

    def _on_file(self) -> None:
        path = dialogs.choose_path(self, "A packed model", "Packed models (*.zip)")
        if path is not None:
            self.add(str(path))

    def _on_address(self) -> None:
        text, said = QInputDialog.getText(self, "Add from an address", "Address of a packed model, or of an index:")
        if said and text.strip():
            self.add(text.strip())

    def add(self, address: str, *told: Any) -> None:
        """Receive a packed model, of which an index may have told more, or ask an index which it offers."""
        from napari_cmrcnet.catalogue.index import add_model, is_index, read_index

        if is_index(address) and not told:
            job = in_thread(lambda: read_index(address), Progress("Asking the index", 0, 0))
            self.jobs.start(job, self._on_index, "Asking the index")
        else:
            self.jobs.start(add_model(address, *told), self._on_added, "Adding the model", lasting=True)

    def _on_index(self, offered: Mapping[str, Any]) -> None:
        if not offered:
            raise UserError("The index offers no model.")
        lines = {f"{one.name}: {one.about} ({one.licence})": one for one in offered.values()}
        line = dialogs.choose_one(self, "Models of the index", "Which model?", list(lines))
        if line is not None:
            one = lines[line]
            self.add(one.address, one.name, one.sha256, one.size)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802  Qt's name
        """Hide, so that what is under way goes on."""
        event.ignore()
        self.hide()


def _asking_size(recipe: ModelRecipe, out: Path) -> Job[str]:
    yield Progress("Preparing", 0, 0)
    import_torch()
    from napari_cmrcnet.catalogue.build import to_download

    return (yield from to_download(recipe, out))


def _building(recipe: ModelRecipe, out: Path) -> "Job[tuple[Checkpoint, LeftOut]]":
    """Build; torch is imported here, in the worker."""
    yield Progress("Preparing", 0, 0)
    import_torch()
    from napari_cmrcnet.catalogue.build import build

    return (yield from build(recipe, out))
