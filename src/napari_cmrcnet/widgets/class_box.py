"""Which classes of spots the view of classes shows, and what their colours mean."""

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFormLayout, QWidget

from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.parts import choice, fill_choice, label

if TYPE_CHECKING:
    from napari_cmrcnet.sections.classes import Classes

LINES = 15  # classes up to which each has a line of the legend


class ClassBox(QWidget):
    """Chooses a column of classes of the session's case; hidden where it has none.

    Parameters
    ----------
    session : Session
        What it changes.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._legend_of: Classes | None = None
        tip = "Clusters, annotations or cell types of the spots, as a column of the file holds them."
        self.column = choice(tip, long=True)
        self.column.currentTextChanged.connect(lambda text: session.set_display(classes=text))
        self.legend = label(rich=True)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Classes of", self.column)
        form.addRow(self.legend)

    def refresh(self) -> None:
        """Offer the columns of the case, and say what the colours of the chosen one mean."""
        case, classes = self.session.case, self.session.classes
        self.setVisible(classes is not None)
        if case is None or classes is None or classes is self._legend_of:
            return
        self._legend_of = classes
        fill_choice(self.column, [(name, name) for name in case.class_columns], classes.column)
        entries = (
            f'<span style="color: rgb{colour}">■</span> {escape(name)} ({n:,})'
            for colour, name, n in zip(classes.colours, classes.names, classes.counts, strict=True)
        )
        self.legend.setText(("<br>" if len(classes.names) <= LINES else " &nbsp; ").join(entries))
