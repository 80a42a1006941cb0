"""The folder of what another tool predicted: a table for each section, by its name."""

from pathlib import Path

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.external_files import KNOWN, is_external


def tables_in(folder: Path) -> list[Path]:
    """Return all tables of a folder, in the order of their names; none where there is no folder."""
    return sorted(path for path in folder.iterdir() if is_external(path)) if folder.is_dir() else []


def table_of(folder: Path, section: str) -> Path:
    """Return the table of a section.

    Raises
    ------
    UserError
        If there is none, or several.
    """
    found = [path for kind in KNOWN if (path := folder / f"{section}{kind}").is_file()]
    if len(found) == 1:
        return found[0]
    said = "has several tables" if found else "has no table"
    raise UserError(f"{folder} {said} of section {section}: give one of {', '.join(section + kind for kind in KNOWN)}.")
