"""The paper's six datasets: which sections of HEST they are, and what the paper does with them."""

from pathlib import Path

from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.catalogue.hest_folder import UNNAMED, hest_files, hest_rows
from napari_cmrcnet.catalogue.recipe import ModelRecipe, as_key, entries, model_recipes
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.panels import Panel


def recipes() -> dict[str, ModelRecipe]:
    """Return the paper's datasets, by key."""
    return {key: recipe for key, recipe in model_recipes().items() if recipe.layout == "hest"}


def find_recipe(name: str) -> ModelRecipe | None:
    """Return the dataset of a name in any case, None if the paper has none of it."""
    return recipes().get(as_key(name))


def name_in_paper(recipe: ModelRecipe) -> str:
    """Return what the paper calls one of its datasets."""
    return str(entries()[recipe.key]["name"])


def paper_dataset(
    recipe: ModelRecipe, folder: Path, *, panel: Panel | None = None, min_umi: int = 0, all_spots: bool = False
) -> Dataset:
    """Return one of the paper's datasets from a folder in HEST's layout.

    Parameters
    ----------
    recipe : ModelRecipe
        Of `recipes`.
    folder : Path
        Where it was downloaded to.
    panel : Panel, optional
        In place of the paper's marker genes.
    min_umi : int
        Spots with fewer counts are dropped.
    all_spots : bool
        Keep spots of which HEST has no patch, since they are off the tissue. The paper's public code drops them; the
        paper's numbers of spots are of all.

    Raises
    ------
    UserError
        If a file is missing.
    """
    name, said = name_in_paper(recipe), entries()[recipe.key]
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; download {name} to it, or name the folder that holds it.")
    rows = hest_rows(folder, recipe.patients)
    unnamed = [row.section for row in rows if row.patient == UNNAMED.format(row.section)]
    notes = [
        f"HEST does not name the patient of {', '.join(unnamed)}: each such section counts as a patient of its own."
    ]
    patches = {} if all_spots else {section: folder / hest_files(section)[2] for section in recipe.patients}
    if missing := [path for path in patches.values() if not path.is_file()]:
        raise UserError(
            f"{missing[0]} does not exist, which says what spots are on the tissue; download the dataset, or keep all "
            "of its spots (--all-spots)."
        )
    return Dataset(
        name,
        rows,
        panel or recipe.panel,
        map_genes=tuple(said["map_genes"]),
        replicates=tuple(map(tuple, said["replicates"])),
        patches=patches,
        min_umi=min_umi,
        paper=name,
        paper_size=(said["spots"], said["paper_genes"]),
        notes=(*recipe.notes, *(notes if unnamed else ())),
    )
