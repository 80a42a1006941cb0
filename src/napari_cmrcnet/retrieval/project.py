"""Project: a list of cases with what was drawn and noted over each, kept as a ``.cmrproj`` file.

Format: a JSON object ``{"format": "napari-cmrcnet project", "version": 1, "cases": [...]}``, a case with the fields of
`ProjectCase`. Paths are relative to the file where they can be. ``view`` is what `viewer.view_record` gives, with the
regions as GeoJSON. Nothing in it is run, and what is opened by its paths is checked as any other file.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import check_name, seen_from, write_content
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.suffixes import PREDICTIONS, PROJECTS, ends_in
from napari_cmrcnet.common.text import parse_json

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.provenance import Provenance
    from napari_cmrcnet.sections.regions import Region

FORMAT, VERSION = "napari-cmrcnet project", 1
MAX_BYTES = 64 * 2**20  # two million corners of regions
MAX_CASES = 2000
MAX_TEXT = 20_000  # letters of a note or a path
PATHS = ("slide", "spots", "prediction")
TEXTS = ("name", "library", "patient", "model", "notes", *PATHS)


@dataclass(frozen=True)
class ProjectCase:
    """One case of a project, not yet opened.

    Parameters
    ----------
    name : str
        The section's.
    slide, spots, prediction : str
        Absolute paths of what it is opened from; ``""`` where there is none.
    library : str
        Which section of the spots' file.
    patient : str
        ``""`` where not known.
    model : str
        What predicted it, ``""`` where nothing has.
    measured : bool
        Whether its expression was measured.
    pcc : float or None
        Mean PCC of the markers; None where it is not known.
    notes : str
        What the user has written about it.
    view : mapping
        What is remembered of how it was looked at, with regions and ticked genes; empty where it never was.
    """

    name: str
    slide: str = ""
    spots: str = ""
    prediction: str = ""
    library: str = ""
    patient: str = ""
    model: str = ""
    measured: bool = False
    pcc: float | None = None
    notes: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, case: "Case") -> "ProjectCase":
        """Return the entry of a case; of a prediction that is not saved, that of its section."""
        return replace(cls.made(case.provenance, case.path), measured=case.spots.X is not None)

    @classmethod
    def made(cls, about: "Provenance", prediction: Path | None) -> "ProjectCase":
        """Return the entry of what is made as a provenance says, and of the file of its prediction, if it has one."""
        return cls(
            name=about.section,
            slide=about.slide,
            spots=about.spots if about.spots != about.slide else "",  # a grid is laid over the slide
            prediction="" if prediction is None else str(prediction.resolve()),
            library=about.library,
            patient=about.patient,
            model="" if prediction is None else Path(about.checkpoint).stem or Path(about.external).name,
        )

    def is_of(self, other: "ProjectCase") -> bool:
        """Whether another entry is of the same case: made of the same files, and with the same prediction if any."""
        same_spots = bool(self.spots) and (self.spots, self.library) == (other.spots, other.library)
        same = same_spots or (not self.spots and bool(self.slide) and self.slide == other.slide)
        return self.prediction == other.prediction if self.prediction else same


@dataclass(frozen=True)
class Project:
    """Cases in their order, and the file that they are kept in.

    Parameters
    ----------
    cases : tuple of ProjectCase
        The cases.
    path : Path or None
        The ``.cmrproj`` file; None where there is none yet.
    """

    cases: tuple[ProjectCase, ...] = ()
    path: Path | None = None

    def row_of(self, wanted: ProjectCase | None) -> int | None:
        """Return the row of a case, that of its very prediction first; None where it is not among them."""
        if wanted is None:
            return None
        rows = [row for row, each in enumerate(self.cases) if each.is_of(wanted)]
        return max(rows, key=lambda row: self.cases[row].prediction == wanted.prediction, default=None)

    def with_case(self, case: ProjectCase, row: int | None = None) -> "Project":
        """Return the project with a case in place of that of a row, or after all others."""
        cases = list(self.cases)
        cases[len(cases) if row is None else row : len(cases) if row is None else row + 1] = [case]
        return replace(self, cases=tuple(cases))

    def without(self, row: int) -> "Project":
        """Return the project without the case of a row; its files stay."""
        return replace(self, cases=self.cases[:row] + self.cases[row + 1 :])


def regions_of(view: Mapping[str, Any]) -> "tuple[Region, ...]":
    """Return the regions of what is remembered of a case; none where they were damaged by hand."""
    from napari_cmrcnet.sections.geojson import regions_in  # shapely takes long to import

    try:
        return regions_in(view["regions"], "The record") if "regions" in view else ()
    except UserError:
        return ()


def write_project(project: Project) -> None:
    """Write a project to its path, whole or not at all.

    Raises
    ------
    UserError
        If it cannot be written, or is too large to be read again.
    """
    assert project.path is not None
    folder = project.path.resolve().parent
    cases = [
        vars(case) | {name: seen_from(folder, path) for name in PATHS if (path := getattr(case, name))}
        for case in project.cases
    ]
    content = json.dumps({"format": FORMAT, "version": VERSION, "cases": cases}, allow_nan=False).encode()
    if len(content) > MAX_BYTES or len(cases) > MAX_CASES:
        raise UserError(f"{project.path} would be too large for a project; remove cases or some of their regions.")
    write_content(project.path, content)


def read_project(path: str | os.PathLike[str]) -> Project:
    """Read a project.

    Raises
    ------
    UserError
        If the file cannot be read, is not a project or of another version, or an entry is not as it should be. The
        message names the case. Files that a case names and that are gone are told when it is opened.
    """
    path = Path(path)
    with readable(path, "could not be read", errors=(OSError,)), open(path, "rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 2**20} MB, too large for a project; choose another file.")
    try:
        parsed = parse_json(content)
    except ValueError:
        parsed = None
    cases = parsed.get("cases") if isinstance(parsed, dict) and parsed.get("format") == FORMAT else None
    if not isinstance(cases, list):
        raise UserError(f"{path} is not a project of napari-cmrcnet, or is damaged; choose another file.")
    if parsed["version"] != VERSION if "version" in parsed else True:
        raise UserError(f"{path} has another version than {VERSION}, which this software knows; update napari-cmrcnet.")
    if len(cases) > MAX_CASES:
        raise UserError(f"{path} holds {len(cases):,} cases, more than {MAX_CASES:,}; split it.")
    folder = path.resolve().parent
    read = []
    for number, values in enumerate(cases, start=1):
        try:
            read.append(_case(values, folder))
        except UserError as error:
            raise UserError(f"{path}, case {number}, {error}; correct this case in the file, or remove it.") from error
    return Project(tuple(read), path)


def _case(values: Any, folder: Path) -> ProjectCase:
    case = read_entries(ProjectCase, values)
    for name in TEXTS:
        if len(text := getattr(case, name)) > MAX_TEXT or "\0" in text:
            raise UserError(f"has {name} that is too long, or no text")
    if case.pcc is not None and abs(case.pcc) > 1:
        raise UserError(f"has pcc: {case.pcc}, which is not a correlation")
    try:
        json.dumps(case.view, allow_nan=False)  # else it could not be written again
    except (ValueError, RecursionError) as error:
        raise UserError("has a view with a number that is not finite, or nested too deeply") from error
    if "regions" in case.view:
        from napari_cmrcnet.sections.geojson import regions_in  # shapely takes long to import

        try:
            regions_in(case.view["regions"], "")
        except UserError as error:
            raise UserError("has damaged regions") from error
    paths = {name: os.path.normpath(folder / path) for name in PATHS if (path := getattr(case, name))}
    return replace(case, **paths)


def project_of(path: str | os.PathLike[str]) -> Job[Project]:
    """Make a list of cases: of a project, a folder of predictions, or a sheet of sections.

    Parameters
    ----------
    path : path
        A ``.cmrproj`` file; a folder with what `predict_sheet` or `Prediction.save` wrote; or what `read_sheet` reads.

    Raises
    ------
    UserError
        If it is none of these, or damaged. Files in a folder that are no predictions are passed over.
    """
    path = Path(path)
    check_name(path)
    yield Progress(f"Reading {path.name}", 0, 0)
    if path.is_dir():
        return (yield from _in_folder(path))
    if ends_in(path.name, PROJECTS):
        return read_project(path)
    from napari_cmrcnet.sections.sheet import read_sheet

    rows = read_sheet(path)[:MAX_CASES]
    return Project(
        tuple(
            ProjectCase(
                name=row.section,
                slide=str(row.slide.resolve()),
                spots=str(row.spots.resolve()) if row.spots is not None else "",
                library=row.library,
                patient=row.patient,
                measured=row.spots is not None,
            )
            for row in rows
        )
    )


def _in_folder(folder: Path) -> Job[Project]:
    import h5py

    from napari_cmrcnet.retrieval.prediction_file import read_provenance

    found = []
    files = sorted(file for file in folder.iterdir() if ends_in(file.name, PREDICTIONS) and file.name[0] != ".")
    for number, file in enumerate(files[:MAX_CASES]):
        yield Progress("Reading predictions", number, len(files), "files")
        try:
            about = read_provenance(file)
        except UserError:
            continue
        with h5py.File(file, "r") as opened:
            found.append(replace(ProjectCase.made(about, file), measured="raw/X" in opened))
    if not found:
        raise UserError(f"{folder} holds no prediction of napari-cmrcnet; choose the folder that predict wrote to.")
    return Project(tuple(found))
