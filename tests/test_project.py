"""A project: cases with what was drawn over them, written whole, and read without trust."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import box

from forked import Forked
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.external_files import read_table
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.project import MAX_BYTES, Project, ProjectCase, project_of, read_project, write_project
from napari_cmrcnet.sections.geojson import as_geojson
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.sections.spots import open_spots
from napari_cmrcnet.slides.slide import open_slide
from one_prediction import Known

VIEW = {"layout": "overlaid", "ticked": ["GENE1"], "regions": as_geojson([Region("a", "Tumour", box(0, 0, 9, 9))])}


def project(folder: Path) -> Project:
    inside, elsewhere = folder / "slides" / "a.tif", folder.parent / "b.h5ad"
    cases = (
        ProjectCase("A", slide=str(inside), patient="P1", measured=True, pcc=0.25, notes="margin?\nno", view=VIEW),
        ProjectCase("Bé", spots=str(elsewhere), prediction=str(elsewhere), library="l", model="m"),
    )
    return Project(cases, folder / "p.cmrproj")


def test_is_read_as_it_was_written_also_from_where_it_was_moved_to(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    made = project(tmp_path / "one")
    write_project(made)
    again = read_project(tmp_path / "one" / "p.cmrproj")
    assert again.path == made.path
    assert [replace(case, view={}) for case in again.cases] == [replace(case, view={}) for case in made.cases]
    assert again.cases[0].view == json.loads(json.dumps(VIEW))
    stored = json.loads((tmp_path / "one" / "p.cmrproj").read_text())["cases"]
    assert (stored[0]["slide"], stored[1]["spots"]) == ("slides/a.tif", "../b.h5ad")
    os.rename(tmp_path / "one", tmp_path / "two")
    assert read_project(tmp_path / "two" / "p.cmrproj").cases[0].slide == str(tmp_path / "two" / "slides" / "a.tif")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda each: each.pop("name"), "case 1, lacks the entry 'name'"),
        (lambda each: each.update(more=1), "case 1, has an unknown entry 'more', perhaps of a newer version"),
        (lambda each: each.update(slide=7), "case 1, has slide: 7, which should be a valid string"),
        (lambda each: each.update(slide="K\udcf6ln.tif"), r"case 1, cannot be read \(Invalid JSON: .*surrogate"),
        (lambda each: each.update(slide="a\0b"), "case 1, has slide that is too long, or no text"),
        (lambda each: each.update(notes="a" * 30_000), "case 1, has notes that is too long"),
        (lambda each: each.update(pcc=3), "case 1, has pcc: 3.0, which is not a correlation"),
        (lambda each: each.update(pcc=float("nan")), "case 1, has pcc: NaN, which should be a finite number"),
        (lambda each: each.update(measured=1), "case 1, has measured: 1, which should be a valid boolean"),
        (lambda each: each.update(view=[]), r"case 1, has view: \[\], which should be an object"),
        (lambda each: each["view"].update(regions=7), "case 1, has damaged regions"),
        (lambda each: each["view"].update(more=[float("inf")]), "case 1, has a view with a number that is not finite"),
    ],
)
def test_a_case_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    made = project(tmp_path)
    write_project(made)
    assert made.path is not None
    content = json.loads(made.path.read_text())
    change(content["cases"][0])
    made.path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        read_project(made.path)


@pytest.mark.parametrize(
    "open_it",
    [open_slide, open_spots, Prediction.load, read_table, Checkpoint.open, lambda path: finish(project_of(path))],
)
def test_what_no_project_could_name_is_not_opened(tmp_path: Path, open_it: Callable[[Path], object]) -> None:
    with pytest.raises(UserError, match=r"K\\udcf6ln has a name that is not UTF-8.*rename it"):
        open_it(tmp_path / "K\udcf6ln")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a project"),
        (b"[]", "not a project"),
        (b'{"format": "napari-cmrcnet project", "cases": 3}', "not a project"),
        (b'{"format": "napari-cmrcnet project", "version": 2, "cases": []}', "another version"),
        (b'{"format": "napari-cmrcnet project", "cases": []}', "another version"),
        (b'{"format": "napari-cmrcnet project", "version": 1, "cases": [[]]}', "case 1, is not an object"),
        (b"[" * 100_000, "not a project"),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "p.cmrproj").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_project(tmp_path / "p.cmrproj")


def test_one_that_is_too_large_is_neither_read_nor_written(tmp_path: Path) -> None:
    with open(tmp_path / "p.cmrproj", "wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="too large for a project"):
        read_project(tmp_path / "p.cmrproj")
    with pytest.raises(UserError, match="too large"):
        write_project(Project(tuple(ProjectCase(str(n)) for n in range(2001)), tmp_path / "q.cmrproj"))
    assert not (tmp_path / "q.cmrproj").exists()
    with pytest.raises(UserError, match="does not exist"):
        read_project(tmp_path / "none.cmrproj")


def test_a_folder_of_predictions_and_a_sheet_are_lists_of_cases(known: dict[str, Known], tmp_path: Path) -> None:
    for name, each in known.items():
        each.prediction.save(tmp_path / f"{name}.h5ad")
    (tmp_path / "x.h5ad").write_bytes(b"no prediction")
    found = finish(project_of(tmp_path)).cases
    assert [(case.name, case.patient, case.model, case.measured) for case in found] == [
        ("C", "P3", "untrained", True),
        ("D", "", "untrained", False),
    ]
    for case in found:
        assert case.is_of(ProjectCase.of(Prediction.load(case.prediction)))
        assert case.prediction == str(tmp_path / f"{case.name}.h5ad")
    section = known["C"].section
    slide, spots = section.slide.path, section.spots.uns["cmrcnet"]["path"]
    (tmp_path / "sheet.csv").write_text(f"section,slide,spots,patient\nC,{slide},{spots},P3\nG,{slide},,P4\n")
    one, two = finish(project_of(tmp_path / "sheet.csv")).cases
    assert (one.slide, one.spots, one.measured, one.prediction) == (str(slide), spots, True, "")
    assert (two.spots, two.measured, two.patient) == ("", False, "P4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no prediction"):
        finish(project_of(tmp_path / "empty"))


def test_cases_are_added_replaced_and_removed(known: dict[str, Known]) -> None:
    other, predicted = ProjectCase("other", slide="/x.tif"), ProjectCase.of(known["C"].prediction)
    cases = Project().with_case(other)
    assert cases.row_of(predicted) is None
    assert cases.row_of(None) is None
    cases = cases.with_case(predicted)
    assert (cases.row_of(other), cases.row_of(predicted)) == (0, 1)
    cases = cases.with_case(replace(cases.cases[1], notes="n"), 1)
    assert [case.notes for case in cases.cases] == ["", "n"]
    assert cases.without(0).row_of(predicted) == 0


WRITER = """
import signal, sys
from pathlib import Path
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.project import Project, ProjectCase, write_project
def job(delay):
    for number in range(10**6):
        cases = (ProjectCase(str(n), notes=str(number) * 200) for n in range(50))
        write_project(Project(tuple(cases), Path(sys.argv[1])))
        print(number, flush=True)
        if number == 4:
            signal.setitimer(signal.ITIMER_REAL, float(delay))  # its signal kills
"""


def test_killed_while_it_writes_it_leaves_the_last_whole_project(tmp_path: Path, forked: Forked) -> None:
    path = tmp_path / "p.cmrproj"
    jobs = forked(WRITER, path)
    for delay in (1e-6, 0.013, 0.031):
        last = int(list(jobs.run(str(delay)))[-1])
        assert jobs.code == -signal.SIGALRM
        cases = read_project(path).cases
        assert len(cases) == 50
        assert cases[0].notes in (str(last) * 200, str(last + 1) * 200)
