"""build(): from nothing to a checkpoint, by a recipe."""

from contextlib import ExitStack
from pathlib import Path

from napari_cmrcnet.catalogue.fetch import download_size, fetch
from napari_cmrcnet.catalogue.left_out import LeftOut, leave_out
from napari_cmrcnet.catalogue.recipe import ModelRecipe
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import check_output, write_json
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.progress import Job, Progress, within
from napari_cmrcnet.common.text import parse_json, size_text
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.sheet import read_sheet
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

BEGUN, DATA = "recipe.json", "data"


def building_folder(out: Path) -> Path:
    """Return the folder beside a checkpoint that holds the data and every stage of its building."""
    return out.with_name(out.name.removesuffix(".cmrcnet") + ".building")


def to_download(recipe: ModelRecipe, out: Path) -> Job[str]:
    """Say how much there is to download before a model can be built, and where to; ``""`` where all data are there.

    Raises
    ------
    UserError
        If a site cannot be reached.
    """
    folder = building_folder(out)
    size = yield from download_size(recipe, folder / DATA)
    if size == 0:
        return ""
    size_known = "a size that is shown once the download begins" if size is None else f"{size_text(size)} to download"
    return f"{recipe.title} ({recipe.source}; {recipe.licence}) has {size_known}. It is kept in {folder}."


def build(recipe: ModelRecipe, out: Path, device: str = "auto") -> Job[tuple[Checkpoint, LeftOut]]:
    """Build a model by a recipe: receive the data, leave out patients in turn, and train on all.

    Each stage is kept in ``NAME.building`` beside ``NAME.cmrcnet``. Stopped or killed, the same call goes on.

    Parameters
    ----------
    recipe : ModelRecipe
        From what.
    out : Path
        The checkpoint to write, ``NAME.cmrcnet``.
    device : str
        As `choose_device`.

    Returns
    -------
    Checkpoint
        The model.
    LeftOut
        How well sections were predicted by models that had not seen them.

    Raises
    ------
    UserError
        If the data cannot be received, ``out`` is there already and was not built by this recipe, or as `fit` does.
    """
    check_output(out)
    folder = building_folder(out)
    with only_one(folder):
        _begin(recipe, out, folder)
        sheet = yield from fetch(recipe, folder / DATA)
        with ExitStack() as slides:
            sections: list[Section] = []
            for row in read_sheet(sheet):
                yield Progress("Opening sections", len(sections), len(recipe.patients), "sections")
                sections.append(row.open())
                slides.enter_context(sections[-1].slide)
            config = FitConfig(panel=recipe.panel, data=recipe.terms, device=device)
            left_out = yield from leave_out(sections, config, folder / "left_out")
            checkpoint = yield from within("Training on all", fit(sections, config, out, resume=True))
        return checkpoint, left_out


def _begin(recipe: ModelRecipe, out: Path, folder: Path) -> None:
    """Note what is begun, or check that what is there is of this recipe."""
    begun = folder / BEGUN
    if begun.is_file():
        try:
            name = parse_json(begun.read_text("utf-8"))["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            name = "?"
        if name != recipe.key:
            raise UserError(f"{folder} was started by another recipe ({name}); choose another name for --out.")
        return
    if out.exists():
        raise UserError(f"{out} exists and was not built here; choose another name for --out.")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(begun, {"recipe": recipe.key, "title": recipe.title, "source": recipe.source, "licence": recipe.licence})
