"""The public data of a recipe: received, unpacked, and listed in a sheet."""

import json
from pathlib import Path
from urllib.parse import quote

from napari_cmrcnet.catalogue.hest import download_hest
from napari_cmrcnet.catalogue.public_data import receive, to_receive, visium_files
from napari_cmrcnet.catalogue.recipe import ModelRecipe
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.public_files import BrokenError, PublicFile, ask, unreachable
from napari_cmrcnet.common.text import size_text
from napari_cmrcnet.sections.sheet import SheetRow, write_sheet

SHEET = "sections.csv"
LARGEST_LIST = 32 * 2**20  # bytes; GitHub lists at most 7 MB


_Wanted = tuple[tuple[PublicFile, ...], tuple[SheetRow, ...]]
"""Files to receive, and the sections that they are then."""


def fetch(recipe: ModelRecipe, folder: Path) -> Job[Path]:
    """Receive what of a recipe's data is not there, and write the sheet of its sections.

    A file appears whole and checked, or not at all; what was received of it before a stop is gone on with.

    Parameters
    ----------
    recipe : ModelRecipe
        What to receive.
    folder : Path
        Where to.

    Returns
    -------
    Path
        The sheet. Once it is there nothing is asked of a site any more.

    Raises
    ------
    UserError
        If a site cannot be reached, has not what is wanted, the disk is too small, or a file is not the published one.
    """
    if (sheet := folder / SHEET).is_file():
        return sheet
    if recipe.layout == "hest":
        return (yield from download_hest(recipe.title, recipe.patients, folder))
    files, rows = yield from _wanted(recipe, folder)
    yield from receive(recipe.title, files, folder)
    return write_sheet(rows, sheet)


def download_size(recipe: ModelRecipe, folder: Path) -> Job[int | None]:
    """Ask how many bytes of a recipe's data are still to be received; None where only the download itself says it.

    Raises
    ------
    UserError
        If a site cannot be reached, or has not what is wanted.
    """
    if (folder / SHEET).is_file():
        return 0
    if recipe.layout == "hest":
        return None
    wanted, _ = yield from _wanted(recipe, folder)
    return sum((yield from to_receive(recipe.title, wanted, folder)).values())


def _wanted(recipe: ModelRecipe, folder: Path) -> Job[_Wanted]:
    return (yield from _her2st(recipe, folder)) if recipe.layout == "her2st" else _visium(recipe, folder)


def _visium(recipe: ModelRecipe, folder: Path) -> _Wanted:
    """Return the files of sections as 10x Genomics publishes them."""
    files, rows = [], []
    for name, patient in recipe.patients.items():
        image, *others = visium_files(recipe.places["files"][name], f"{name}/")
        files += [image, *others]
        rows.append(SheetRow(name, folder / image.name, folder / name, patient))
    return tuple(files), tuple(rows)


def _her2st(recipe: ModelRecipe, folder: Path) -> Job[_Wanted]:
    """Return the files of sections as the study's repository has them, by git's list of it."""
    step = Progress(f"Asking for {recipe.title}", 0, 0)
    listed = yield from in_thread(lambda: git_list(recipe.title, recipe.places["list"]), step)
    files, rows = [], []
    for name, patient in recipe.patients.items():
        pictures = [path for path in listed if path.startswith(f"data/ST-imgs/{name[0]}/{name}/") and _is_jpeg(path)]
        places = {
            f"ST-cnts/{name}.tsv.gz": f"data/ST-cnts/{name}.tsv.gz",
            f"ST-spotfiles/{name}_selection.tsv": f"data/ST-spotfiles/{name}_selection.tsv",
            f"ST-imgs/{name}.jpg": pictures[0] if len(pictures) == 1 else f"data/ST-imgs/{name[0]}/{name}/*.jpg",
        }
        for here, there in places.items():
            if there not in listed:
                raise UserError(f"{recipe.page} has no {there} any more; look there under which name it is now.")
            checksum, size = listed[there]
            files.append(PublicFile(here, (recipe.places["files"] + quote(there),), git=checksum, size=size))
        rows.append(SheetRow(name, folder / f"ST-imgs/{name}.jpg", folder / f"ST-cnts/{name}.tsv.gz", patient))
    return tuple(files), tuple(rows)


def _is_jpeg(path: str) -> bool:
    return path.casefold().endswith((".jpg", ".jpeg"))


def git_list(title: str, url: str) -> dict[str, tuple[str, int]]:
    """Return the files of a repository by git's list of them, as GitHub answers: by path, SHA-1 and size.

    Raises
    ------
    UserError
        If the site cannot be reached, refuses, or answers otherwise.
    """
    content = read_small(title, url, LARGEST_LIST)
    try:
        answer = json.loads(content)
        if answer["truncated"]:
            raise ValueError("it is cut short")
        blobs = (entry for entry in answer["tree"] if entry["type"] == "blob")
        return {str(entry["path"]): (str(entry["sha"]), int(entry["size"])) for entry in blobs}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{url} does not answer with a list of files ({error}); try again later.") from error


def read_small(title: str, url: str, most: int) -> bytes:
    """Return a small file of a site.

    Raises
    ------
    UserError
        If the site cannot be reached or refuses, or the file has more bytes than ``most``.
    """
    try:
        with ask(url) as answer:
            content = answer.read(most + 1)
    except BrokenError as broken:
        raise unreachable(title, (url,), broken) from broken
    if len(content) > most:
        raise UserError(f"{url} is larger than {size_text(most)}, so it is not the right file.")
    return bytes(content)
