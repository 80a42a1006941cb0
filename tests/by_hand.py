"""A user at a real window: clicks on what is seen, keys, and files that are dropped. Every click is counted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QMenu,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QTabBar,
    QToolButton,
    QWidget,
)

from napari_cmrcnet.widgets.dock_panel import canvas_of, find_panel

LEFT = Qt.MouseButton.LeftButton


class ByHand:
    """Does with a window what a user does, and counts it.

    A drop counts as one click, as does a file that is chosen in a dialog of the system, which is answered here.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window.
    patch : pytest.MonkeyPatch
        Answers the system's dialogs for files.
    patience : float
        Seconds that anything may take: the machine may be busy.
    """

    def __init__(self, viewer: Any, patch: pytest.MonkeyPatch, patience: float = 120.0) -> None:
        self.viewer = viewer
        self.clicks = 0
        self.choose: Path | None = None  # what is chosen in the next dialog of the system
        self._patience = patience
        for name in ("getOpenFileName", "getSaveFileName"):
            patch.setattr(QFileDialog, name, lambda *_, **__: (self._chosen(), ""))
        patch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: ([self._chosen()], ""))
        patch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: self._chosen())

    @property
    def window(self) -> Any:
        """Qt's window, not kept: it would outlive the test."""
        return getattr(self.viewer, "__wrapped__", self.viewer).window._qt_window

    @property
    def canvas(self) -> Any:
        """What the picture is drawn in."""
        return canvas_of(self.window)

    def wait(self, condition: Callable[[], Any], what: str = "") -> None:
        """Let the window work until something is so."""
        end = time.monotonic() + self._patience
        while not condition():
            assert time.monotonic() < end, f"the window waits for something that does not come: {what}"
            QTest.qWait(20)

    def click(self, widget: QWidget, pos: QPoint | None = None) -> None:
        """Click a control that is seen and can be pressed."""
        self.wait(lambda: _in_sight(widget), f"{widget}: it is hidden, or behind others")
        assert widget.isEnabled(), f"{widget} cannot be pressed"
        self.clicks += 1
        if pos is None and hasattr(widget, "isCheckable") and widget.isCheckable() and not _is_push(widget):
            pos = QPoint(8, widget.height() // 2)  # its mark: beside its text nothing is pressed
        QTest.mouseClick(widget, LEFT, pos=widget.rect().center() if pos is None else pos)
        QApplication.processEvents()

    def key(self, *keys: Any, at: QWidget | None = None) -> None:
        """Press keys, on the picture unless it is said where; each counts."""
        for key in keys:
            self.clicks += 1
            QTest.keyClick(self.canvas if at is None else at, key)
            QApplication.processEvents()

    def type(self, box: QWidget, text: str) -> None:
        """Click a box, write in it in place of what it has, and go on with Tab; the text counts nothing."""
        self.click(box)
        box.selectAll()  # type: ignore[attr-defined]
        QTest.keyClicks(box, text)
        self.key(Qt.Key.Key_Tab, at=box)

    def drop(self, path: Path) -> None:
        """Drop a file on the window."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        keys = Qt.KeyboardModifier.NoModifier
        event = QDropEvent(QPointF(200, 200), Qt.DropAction.CopyAction, mime, LEFT, keys)
        self.clicks += 1
        self.window._qt_viewer.dropEvent(event)
        QApplication.processEvents()

    def menu(self, *path: str) -> None:
        """Click through a menu of the window."""
        bar = self.window.menuBar()
        place = bar.actionGeometry(_named(bar, path[0])).center()
        self.click(bar, place)

        def stays_open() -> bool:
            """Without a window manager the focus is lost late, which closes a menu: then click once more."""
            QTest.qWait(100)
            if QApplication.activePopupWidget() is None:
                QTest.mouseClick(bar, LEFT, pos=place)
                return False
            return True

        self.wait(stays_open, path[0])
        for name in path[1:]:
            self.wait(lambda: isinstance(QApplication.activePopupWidget(), QMenu))
            menu = QApplication.activePopupWidget()
            self.click(menu, menu.actionGeometry(_named(menu, name)).center())
            self.wait(lambda menu=menu: QApplication.activePopupWidget() is not menu)

    def pick(self, button: QPushButton, name: str) -> None:
        """Click a button that has a menu, and an entry of it."""
        QTimer.singleShot(0, lambda: self._pick_in(button.menu(), name))
        self.click(button)
        self.wait(lambda: not button.menu().isVisible())

    def choose_in(self, box: QComboBox, text: str) -> None:
        """Click a list that unfolds, and the entry that begins so."""
        self.click(box)
        view = box.view()
        self.wait(view.isVisible)
        QTest.qWait(QApplication.doubleClickInterval() + 50)  # until then the list takes no click
        (row,) = [row for row in range(box.count()) if box.itemText(row).startswith(text)]
        index = box.model().index(row, box.modelColumn(), box.rootModelIndex())
        view.scrollTo(index)
        self.click(view.viewport(), view.visualRect(index).center())
        self.wait(lambda: not view.isVisible())

    def tab(self, name: str) -> Any:
        """Click the tab of a panel that is open or about to be, and return the panel."""

        def bars() -> list[QTabBar]:
            return [bar for bar in self.window.findChildren(QTabBar) if bar.isVisible() and name in _tabs(bar)]

        self.wait(bars, f"the tab {name}")
        (bar,) = bars()
        place = _tabs(bar).index(name)
        while not bar.rect().contains(bar.tabRect(place).center()):
            left, right = bar.findChildren(QToolButton)
            self.click(left if bar.tabRect(place).center().x() < 0 else right)
        self.click(bar, bar.tabRect(place).center())
        return self.panel(name)

    def open(self, name: str) -> Any:
        """Open a panel by napari's Plugins menu."""
        self.menu("Plugins", "CMRCNet", f"{name} (CMRCNet)")
        return self.panel(name)

    def panel(self, name: str) -> Any:
        """Return a panel when it is seen."""
        self.wait(lambda: (panel := find_panel(self.viewer, name)) is not None and not panel.visibleRegion().isEmpty())
        return find_panel(self.viewer, name)

    def when_asked(self, answer: str) -> None:
        """Click a button of the next question, when it is asked."""
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(20, lambda: self.when_asked(answer))
            return
        (box,) = [dialog] if isinstance(dialog, QMessageBox) else dialog.findChildren(QDialogButtonBox)
        (button,) = [each for each in box.buttons() if each.text().replace("&", "") == answer]
        self.click(button)

    def _pick_in(self, menu: QMenu, name: str) -> None:
        if menu.isVisible():
            self.click(menu, menu.actionGeometry(_named(menu, name)).center())
        else:
            QTimer.singleShot(20, lambda: self._pick_in(menu, name))

    def _chosen(self) -> str:
        path, self.choose = self.choose, None
        assert path is not None, "a file is asked for"
        self.clicks += 1
        return str(path)


def _in_sight(widget: QWidget) -> bool:
    """Scroll to a widget, which is no click, and say whether it is seen, after what unfolds has unfolded."""
    parent = widget.parentWidget()
    while parent is not None:
        if isinstance(parent, QScrollArea):
            parent.ensureWidgetVisible(widget)
        parent = parent.parentWidget()
    QApplication.processEvents()
    return widget.isVisible() and not widget.visibleRegion().isEmpty()


def _is_push(widget: QWidget) -> bool:
    return isinstance(widget, QPushButton | QToolButton)


def _named(menu: Any, name: str) -> Any:
    """Return the action of a menu or a bar that has a name."""
    (action,) = [each for each in menu.actions() if each.text().replace("&", "") == name]
    return action


def _tabs(bar: QTabBar) -> list[str]:
    return [bar.tabText(place) for place in range(bar.count())]
