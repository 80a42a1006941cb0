"""The paper's six datasets: which sections of HEST they are, and what the paper does with them."""

import csv
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.evaluation.experiments.dataset import Dataset
from napari_cmrcnet.evaluation.experiments.hest import hest_row, patch_file
from napari_cmrcnet.sections.panels import PANELS, Panel
from napari_cmrcnet.sections.sheet import COLUMNS


@dataclass(frozen=True)
class Recipe:
    """One of the paper's datasets.

    Parameters
    ----------
    key : str
        On the command line, and of the folder it is downloaded to.
    name : str
        As the paper calls it.
    patients : mapping of str to str
        HEST's id of each section to whom it is from; ``""``: what HEST says.
    panel : Panel
        The paper's marker genes.
    ks : tuple of int
        Neighbours behind a value: for Table 1, for 150 genes, for 250 genes.
    map_genes : tuple of str
        Genes of the paper's maps.
    left_out_genes : tuple of str
        How names begin that are the platform's controls.
    replicates : tuple of tuple of str
        Sections cut from one block.
    notes : tuple of str
        What a reader of the scores must know.
    """

    key: str
    name: str
    patients: dict[str, str]
    panel: Panel
    ks: tuple[int, ...]
    map_genes: tuple[str, ...]
    left_out_genes: tuple[str, ...]
    replicates: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def open_folder(
        self, folder: Path, *, panel: Panel | None = None, min_umi: int = 0, only_on_tissue: bool = False
    ) -> Dataset:
        """Return the dataset from a folder in HEST's layout.

        Parameters
        ----------
        folder : Path
            Where it was downloaded to.
        panel : Panel, optional
            In place of the paper's marker genes.
        min_umi : int
            Spots with fewer counts are dropped.
        only_on_tissue : bool
            Drop spots of which HEST has no patch. The paper's counts of spots are of all.

        Raises
        ------
        UserError
            If a file is missing.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist; download {self.name} to it, or name the folder that holds it.")
        rows = tuple(hest_row(folder, name, patient) for name, patient in self.patients.items())
        patches = {name: patch_file(folder, name) for name in self.patients} if only_on_tissue else {}
        return Dataset(
            self.name,
            rows,
            panel or self.panel,
            map_genes=self.map_genes,
            left_out_genes=self.left_out_genes,
            replicates=self.replicates,
            patches=patches,
            min_umi=min_umi,
            paper=self.name,
            notes=self.notes,
        )


def recipes() -> dict[str, Recipe]:
    """Return the paper's datasets, by key."""
    found = {}
    for entry in sorted(files(__package__).joinpath("recipes").iterdir(), key=lambda file: file.name):
        if entry.name.endswith(".json"):
            key, content = entry.name.removesuffix(".json"), json.loads(entry.read_text("utf-8"))
            found[key] = Recipe(
                key,
                content["name"],
                content["sections"],
                PANELS[content["panel"]],
                tuple(content["k"]),
                tuple(content["map_genes"]),
                tuple(content["left_out_genes"]),
                tuple(map(tuple, content["replicates"])),
                tuple(content["notes"]),
            )
    return found


def find_recipe(name: str) -> Recipe | None:
    """Return the dataset of a name in any case, None if the paper has none of it."""
    return recipes().get(re.sub(r"[^a-z0-9]+", "_", name.casefold()))


def write_sheet(dataset: Dataset, path: Path) -> Path:
    """Write a dataset's sections as a sheet, for commands that take one."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(COLUMNS)
        for row in dataset.rows:
            places = [file.relative_to(path.parent) if file else "" for file in (row.slide, row.spots)]
            lines.writerow([row.section, *places, row.patient])
    return path
