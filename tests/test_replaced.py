"""What the user has made stays, or is asked about, when a case comes that was asked for before; in a real window."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import box

from dialogs import SaveDialog
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.project import Project, ProjectCase, write_project
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.reopen import Opened, open_measured
from napari_cmrcnet.widgets import case_pages, dialogs, open_files, predict
from napari_cmrcnet.widgets.dock_panel import open_panel
from napari_cmrcnet.widgets.job_run import _RUNNING
from one_prediction import Known

pytestmark = pytest.mark.qt("pyside6")  # what is asked does not depend on Qt

DRAWN = Region("edge", "Tumour", box(0, 0, 90, 90))
SLOW = 60_000  # ms: the machine may be busy


class Window:
    """A window in which opening C takes until it is let go, and which answers questions as it is told."""

    def __init__(self, viewer: Any, qtbot: Any, folder: Path, known: dict[str, Known]) -> None:
        self.viewer, self.qtbot, self.folder, self.known = viewer, qtbot, folder, known
        self.cases = layers_of(viewer).cases
        self.session = self.cases.session
        self.let_go = threading.Event()
        self.answer, self.asked = "cancel", []
        for name, each in known.items():
            each.prediction.view = {}  # what other tests have drawn
            each.prediction.save(folder / f"{name}.h5ad")
            each.prediction.path = None  # as others of this session have it

    def held(self, job: Any) -> Any:
        def slow(what: Any, *others: Any) -> Job[Any]:
            yield Progress("Opening", 0, 0)
            if "C" in (getattr(what, "stem", ""), getattr(what, "name", "")):
                self.let_go.wait(60)
            return (yield from job(what, *others))

        return slow

    def ask_to_save(self, _: Any, *words: str) -> str:
        self.asked.append(words)
        return self.answer

    def shows(self, name: str) -> bool:
        return self.session.case is not None and self.session.case.name == name

    def wait_for(self, name: str) -> None:
        self.qtbot.waitUntil(lambda: self.shows(name), timeout=SLOW)

    def draw(self) -> None:
        self.session.set_regions([DRAWN])

    def open(self, name: str) -> None:
        open_files.open_in(self.viewer, self.folder / f"{name}.h5ad")

    def let_all_end(self) -> None:
        self.let_go.set()
        self.qtbot.waitUntil(lambda: not _RUNNING, timeout=SLOW)


@pytest.fixture
def window(
    undrawn: None,
    napari_window: Any,
    qtbot: Any,
    tmp_path: Path,
    known: dict[str, Known],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Window]:
    window = Window(napari_window, qtbot, tmp_path, known)
    monkeypatch.setattr(open_files, "open_file", window.held(open_files.open_file))
    monkeypatch.setattr(case_pages, "open_case", window.held(case_pages.open_case))
    monkeypatch.setattr(open_files, "open_panels", lambda _: None)  # nothing is asked in them
    monkeypatch.setattr(dialogs, "ask_to_save", window.ask_to_save)
    yield window
    window.let_all_end()
    window.session.look_at(None)


def test_a_slow_opening_does_not_replace_what_was_opened_after_it(window: Window) -> None:
    window.open("C")
    window.open("D")
    window.wait_for("D")
    window.draw()
    window.let_all_end()
    assert window.shows("D")
    assert window.session.regions == (DRAWN,)
    assert window.asked == []


@pytest.mark.parametrize("answer", ["cancel", "discard"])
def test_what_is_drawn_while_a_case_opens_is_asked_about(window: Window, answer: str) -> None:
    window.answer = answer
    window.open("D")
    window.wait_for("D")
    window.open("C")
    window.draw()
    window.let_all_end()
    assert window.asked == [("D", "regions")]
    assert window.shows("D" if answer == "cancel" else "C")
    assert window.session.regions == ((DRAWN,) if answer == "cancel" else ())


def test_what_was_given_up_is_not_asked_about_twice_and_what_was_made_since_is(window: Window) -> None:
    window.answer = "discard"
    window.open("D")
    window.wait_for("D")
    window.draw()
    window.open("C")
    window.let_all_end()
    assert window.shows("C")
    assert window.asked == [("D", "regions")]
    window.let_go.clear()
    window.draw()
    window.open("C")
    window.session.set_regions([DRAWN, DRAWN])
    window.let_all_end()
    assert window.asked == [("D", "regions"), ("C", "regions"), ("C", "regions")]


def test_of_two_cases_that_are_clicked_the_last_is_shown(window: Window) -> None:
    made = {name: each.prediction.provenance for name, each in window.known.items()}
    window.cases.open(Project(tuple(ProjectCase.made(made[name], window.folder / f"{name}.h5ad") for name in made)))
    case_pages.show_row(window.viewer, 0)
    case_pages.show_row(window.viewer, 1)
    window.wait_for("D")
    window.let_all_end()
    assert window.shows("D")


def test_a_prediction_that_ends_over_unsaved_work_is_kept_beside_it(window: Window, save_dialog: SaveDialog) -> None:
    window.open("D")
    window.wait_for("D")
    window.draw()
    made, slide = window.known["C"].prediction, window.known["C"].section.slide
    save_dialog.answer = window.folder / "made.h5ad"
    predict._show(window.viewer, slide, made)
    assert window.asked == [("D", "regions")]
    assert window.shows("D")
    assert window.session.regions == (DRAWN,)
    assert Prediction.load(save_dialog.answer).name == "C"
    made.path = None
    window.answer = "discard"
    predict._show(window.viewer, slide, made)
    assert window.shows("C")


def test_the_prediction_of_a_measured_section_takes_its_regions_over_unasked(window: Window) -> None:
    known = window.known["C"]
    spots = Path(known.prediction.provenance.spots)
    window.session.look_at(finish(open_measured(spots)).case, known.section.slide)
    window.draw()
    predict._show(window.viewer, known.section.slide, known.prediction)
    assert window.session.prediction is known.prediction
    assert window.session.regions == (DRAWN,)
    assert window.asked == []


def test_what_was_given_up_for_a_case_that_did_not_open_is_asked_about_again(
    window: Window, save_dialog: SaveDialog
) -> None:
    window.answer = "discard"
    window.open("D")
    window.wait_for("D")
    window.draw()
    (window.folder / "damaged.h5ad").write_bytes(b"nothing")
    window.open("damaged")
    window.let_all_end()
    window.answer = "cancel"
    predict._show(window.viewer, window.known["C"].section.slide, window.known["C"].prediction)
    assert window.asked == [("D", "regions"), ("D", "regions")]
    assert window.shows("D")


def test_an_answer_is_not_taken_for_a_prediction_that_ended_during_the_question(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = window.known["C"]
    spots = Path(known.prediction.provenance.spots)
    window.session.look_at(finish(open_measured(spots)).case, known.section.slide)
    window.draw()

    def ask(_: Any, *words: str) -> str:
        window.asked.append(words)
        if len(window.asked) > 1:
            return "cancel"
        predict._show(window.viewer, known.section.slide, known.prediction)  # as the question's own loop would
        return "discard"

    monkeypatch.setattr(dialogs, "ask_to_save", ask)
    window.open("D")
    window.let_all_end()
    assert [what for _, what in window.asked] == ["regions", "prediction and regions"]
    assert window.session.prediction is known.prediction


def test_a_prediction_that_cannot_be_written_where_it_was_to_be_kept_is_not_lost(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.open("D")
    window.wait_for("D")
    window.draw()
    (window.folder / "file").write_bytes(b"")
    kept = window.folder / "made.h5ad"
    places = [window.folder / "file" / "made.h5ad", kept]
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: places.pop(0))
    predict._show(window.viewer, window.known["C"].section.slide, window.known["C"].prediction)
    assert Prediction.load(kept).name == "C"


def test_a_slow_opening_is_shown_where_the_one_that_was_asked_for_after_it_fails(window: Window) -> None:
    (window.folder / "damaged.h5ad").write_bytes(b"nothing")
    window.open("C")
    window.open("damaged")
    window.qtbot.waitUntil(lambda: len(_RUNNING) == 1, timeout=SLOW)
    window.let_all_end()
    assert window.shows("C")


def test_an_opening_that_ended_first_is_shown_where_the_one_after_it_fails(window: Window) -> None:
    (window.folder / "C.h5ad").write_bytes(b"nothing")
    window.open("D")
    window.open("C")
    window.qtbot.waitUntil(lambda: len(_RUNNING) == 1, timeout=SLOW)
    assert not window.shows("D")
    window.let_all_end()
    window.wait_for("D")


def test_an_opening_that_waits_is_closed_once_the_one_after_it_is_here(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(Opened, "close", lambda opened: closed.append(opened.case.name))
    window.open("D")
    window.open("C")
    window.qtbot.waitUntil(lambda: len(_RUNNING) == 1, timeout=SLOW)
    window.let_all_end()
    assert window.shows("C")
    assert closed == ["D"]


def test_where_what_is_here_is_to_stay_an_opening_that_waits_does_not_ask_again(window: Window) -> None:
    window.open("D")
    window.wait_for("D")
    window.open("D")
    window.open("C")
    window.qtbot.waitUntil(lambda: len(_RUNNING) == 1, timeout=SLOW)
    window.draw()
    window.let_all_end()
    assert window.asked == [("D", "regions")]


def test_another_list_of_cases_asks_once(window: Window) -> None:
    window.answer = "discard"
    window.open("D")
    window.wait_for("D")
    window.cases.add_shown()
    window.cases.set_notes("look again")
    window.draw()
    path = window.folder / "other.cmrproj"
    write_project(Project((ProjectCase.made(window.known["C"].prediction.provenance, window.folder / "C.h5ad"),), path))
    window.let_go.set()
    open_panel(window.viewer, "Cases").open(path)
    window.wait_for("C")
    assert window.asked == [("D", "regions and notes")]
