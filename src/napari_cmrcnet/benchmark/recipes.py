"""The paper's six datasets: which sections of HEST they are, and what the paper does with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.catalogue.hest_folder import UNNAMED, hest_files, hest_rows
from napari_cmrcnet.catalogue.recipe import as_key, entries
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.panels import PANELS, Panel


@dataclass(frozen=True)
class Recipe:
    """One of the paper's datasets.

    Parameters
    ----------
    key : str
        On the command line, and of the folder it is downloaded to.
    entry : mapping
        What its data file says.
    """

    key: str
    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As the paper calls it."""
        return str(self.entry["name"])

    @property
    def patients(self) -> dict[str, str]:
        """By HEST's id of a section, the patient that it is from; ``""``: what HEST says."""
        return dict(self.entry["patients"])

    @property
    def ks(self) -> tuple[int, ...]:
        """Neighbours behind a value: for Table 1, for 150 genes, for 250 genes."""
        return tuple(self.entry["k"])

    def open_folder(
        self, folder: Path, *, panel: Panel | None = None, min_umi: int = 0, all_spots: bool = False
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
        all_spots : bool
            Keep spots of which HEST has no patch, since they are off the tissue. The paper's public code drops them;
            the paper's numbers of spots are of all.

        Raises
        ------
        UserError
            If a file is missing.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist; download {self.name} to it, or name the folder that holds it.")
        rows = hest_rows(folder, self.patients)
        unnamed = [row.section for row in rows if row.patient == UNNAMED.format(row.section)]
        notes = [
            f"HEST does not name the patient of {', '.join(unnamed)}: each such section counts as a patient of its own."
        ]
        patches = {} if all_spots else {name: folder / hest_files(name)[2] for name in self.patients}
        if missing := [path for path in patches.values() if not path.is_file()]:
            raise UserError(
                f"{missing[0]} does not exist, which says what spots are on the tissue; download the dataset, or keep "
                "all of its spots (--all-spots)."
            )
        return Dataset(
            self.name,
            rows,
            panel or PANELS[self.entry["panel"]],
            map_genes=tuple(self.entry["map_genes"]),
            replicates=tuple(map(tuple, self.entry["replicates"])),
            patches=patches,
            min_umi=min_umi,
            paper=self.name,
            paper_size=(self.entry["spots"], self.entry["paper_genes"]),
            notes=(*self.entry["notes"], *(notes if unnamed else ())),
        )


def recipes() -> dict[str, Recipe]:
    """Return the paper's datasets, by key."""
    return {key: Recipe(key, entry) for key, entry in entries().items() if entry["layout"] == "hest"}


def find_recipe(name: str) -> Recipe | None:
    """Return the dataset of a name in any case, None if the paper has none of it."""
    return recipes().get(as_key(name))
