"""The Review panel: a reader scores maps without knowing which are measured and which predicted."""

import secrets
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QDialog,
    QLineEdit,
    QRadioButton,
    QWidget,
)

from napari_cmrcnet.common.suffixes import dialog_filter
from napari_cmrcnet.evaluation.figures import Ground, ground_on
from napari_cmrcnet.evaluation.review import KINDS, PLAUSIBLE, Answer, Review, draw_blinded
from napari_cmrcnet.widgets.dialogs import ask_where_to_save, choose_path
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.messages import told
from napari_cmrcnet.widgets.parts import button, form_of, in_row, label, stack
from napari_cmrcnet.widgets.plot_views import GeneSetChoice

if TYPE_CHECKING:
    import napari

ABOUT = (
    "Each gene is shown twice, once measured and once predicted, in random order. You say which it is, and how "
    "plausible it looks. Colours go from the 1st to the 99th percentile of each map. Genes without a PCC, such as "
    "those found at fewer than 10 spots, are left out. The answers are written after each map."
)
NOT_SCORED = "A review needs a section that is measured and predicted."


class ReviewPanel(DockPanel):
    """Starts a blinded review of the session's prediction, goes on with one, and says what came out."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self.window_of_maps: ReviewWindow | None = None
        self.genes = GeneSetChoice(self.session, "The genes to show. A map takes a reader about 20 seconds.")
        self.start = button("Start…", "Asks where to write the answers, and shows the first map.", self._on_start)
        self.resume = button(
            "Resume…", "Asks for the answers of a review that was stopped, and shows the next map.", self._on_resume
        )
        self.message = label(selectable=True)
        form = form_of(("Genes", self.genes))
        stack(self, label(ABOUT), form, in_row(self.start, self.resume), self.message, None, margins=True)
        session = self.session
        self.follow(self._on_case, session.case_changed, session.panels_changed)
        self.follow(self.refresh, session.shown_changed, session.scores_changed)
        self._on_case()

    def _on_case(self) -> None:
        self.genes.list_sets()
        self.message.setText("")
        self.refresh()

    def show_now(self) -> None:
        """Offer a review where the section is measured and predicted."""
        prediction = self.session.prediction
        possible = prediction is not None and bool(prediction.measured_genes)
        for control in (self.genes, self.start, self.resume):
            control.setEnabled(possible)
        if not possible:
            self.message.setText(NOT_SCORED)
        elif self.message.text() == NOT_SCORED:
            self.message.setText("")

    def _on_start(self) -> None:
        chosen, prediction = self.genes.genes(), self.session.prediction
        if chosen is None or prediction is None:
            self.message.setText("The scores that name these genes are not computed yet; choose a panel.")
            return
        name = f"{prediction.name}_review.csv"
        path = ask_where_to_save(self, "Where to write the answers", name, "Answers (*.csv)")
        if path is not None:
            self._open(lambda: Review(prediction, chosen[1], path, secrets.randbelow(2**31)))

    def _on_resume(self) -> None:
        prediction, kind = self.session.prediction, dialog_filter("Answers", [".csv"])
        path = choose_path(self, "The answers of a review", kind)
        if path is not None and prediction is not None:
            self._open(lambda: Review.resume(prediction, path))

    def _open(self, make: Any) -> None:
        with told(self.message.setText):
            review: Review = make()
            review.save()
            dialog = self.window_of_maps = ReviewWindow(review, ground_on(review.prediction, self.session.slide), self)
            dialog.finished.connect(lambda _: self.message.setText(f"{review.agreement}\n\nSaved {review.path}"))
            dialog.setGeometry(self.window().geometry())  # nothing of the section is seen beside it
            dialog.open()


class ReviewWindow(QDialog):
    """Shows one map after another and takes the answers; no other window can be used meanwhile.

    Parameters
    ----------
    review : Review
        What is reviewed.
    ground : Ground
        Spots and slide.
    parent : QWidget
        The panel.
    """

    def __init__(self, review: Review, ground: Ground, parent: QWidget) -> None:
        super().__init__(parent)
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        self.review, self._ground = review, ground
        self._keys: dict[str, QRadioButton] = {}
        self.setWindowTitle("Blinded review")
        self.canvas = FigureCanvasQTAgg(Figure(layout="constrained"))
        self.canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.progress, self.message = label(), label()
        self.kind = self._group([f"{kind} ({kind[0].upper()})" for kind in KINDS], [kind[0] for kind in KINDS])
        self.plausible = self._group([str(n) for n in PLAUSIBLE], [str(n) for n in PLAUSIBLE])
        self.note = QLineEdit()
        self.note.setPlaceholderText("Anything you noticed (optional)")
        self.next = button("Next (Enter)", "Writes the answer and shows the next map.", self._on_next)
        self.next.setDefault(True)
        self.stop = button("Stop", "Closes this window. You can resume later.", self.reject)
        self.stop.setAutoDefault(False)
        form = form_of(
            ("This map is", in_row(*self.kind.buttons(), None)),
            ("Plausibility, from 1 (not at all) to 5 (very)", in_row(*self.plausible.buttons(), None)),
            ("Note", self.note),
        )
        below = in_row((self.progress, 1), self.stop, self.next)
        stack(self, (self.canvas, 1), form, self.message, below, margins=True)
        self._show()

    def _group(self, texts: list[str], keys: list[str]) -> QButtonGroup:
        group = QButtonGroup(self)
        for place, (text, key) in enumerate(zip(texts, keys, strict=True)):
            choice = QRadioButton(text)
            choice.toggled.connect(lambda _: self._check())
            group.addButton(choice, place)
            self._keys[key] = choice
        return group

    def _show(self) -> None:
        """Show the map to answer now; close where there is none."""
        current = self.review.current
        if current is None:
            self.accept()
            return
        draw_blinded(self.canvas.figure, self._ground, self.review.values(), current[0])
        self.canvas.draw_idle()
        for group in (self.kind, self.plausible):
            group.setExclusive(False)
            for choice in group.buttons():
                choice.setChecked(False)
            group.setExclusive(True)
        self._check()
        self.note.clear()
        self.progress.setText(f"Map {len(self.review.answers) + 1} of {len(self.review.maps)}")
        self.setFocus()  # not the note: letters choose again

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Choose by a key; what is typed into the note does not come here."""
        choice = self._keys.get(event.text().lower())
        if choice is None:
            super().keyPressEvent(event)
        else:
            choice.click()

    def _check(self) -> None:
        self.next.setEnabled(self.kind.checkedId() >= 0 and self.plausible.checkedId() >= 0)

    def _on_next(self) -> None:
        with told(self.message.setText):
            kind, plausible = KINDS[self.kind.checkedId()], PLAUSIBLE[self.plausible.checkedId()]
            self.review.answer(Answer(kind, plausible, " ".join(self.note.text().split())))
            self.message.setText("")
            self._show()
