"""To what spots the cells or bins of a measured section are pooled while it is looked at."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker

from napari_cmrcnet.sections.pooling import NONE
from napari_cmrcnet.viewer.open_measured import open_pooled
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets.choosers import NamedChoice, offer_pools
from napari_cmrcnet.widgets.dock_panel import while_there
from napari_cmrcnet.widgets.jobs import run_in_window

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case


class PoolBox(NamedChoice):
    """Chooses to what spots cells or bins are pooled; hidden where the window shows none that were measured.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose section it is.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__("Pooled to", "Sums the counts of cells or small bins in spots, as they are for predicting.")
        self.viewer = viewer
        self.changed.connect(self._pool)

    def refresh(self) -> None:
        """Say how the section that is shown is pooled, and offer the other ways."""
        case = session_of(self.viewer).case
        with QSignalBlocker(self):
            offer_pools(self, "" if case is None else case.poolable)
            self.choose(NONE if case is None or case.unpooled is None else case.provenance.pool)

    def _pool(self) -> None:
        session = session_of(self.viewer)
        case, slide = session.case, session.slide
        if case is None:
            return

        def done(pooled: "Case") -> None:
            if session.case is case:  # another may have been opened meanwhile
                pooled.view = record_of(session)
                session.look_at(pooled, slide)

        job = open_pooled(case.unpooled or case, self.name)
        run_in_window(self.viewer, job, done, f"Pooling {case.name}", while_there(self.refresh))
