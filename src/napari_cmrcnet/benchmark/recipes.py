"""The paper's six datasets: which sections of HEST they are, and what the paper does with them."""

from dataclasses import dataclass
from pathlib import Path

from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.catalogue.hest_folder import UNNAMED, hest_rows, patch_file
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
    name : str
        As the paper calls it.
    patients : mapping of str to str
        By HEST's id of a section, the patient that it is from; ``""``: what HEST says.
    panel : Panel
        The paper's marker genes.
    ks : tuple of int
        Neighbours behind a value: for Table 1, for 150 genes, for 250 genes.
    map_genes : tuple of str
        Genes of the paper's maps.
    replicates : tuple of tuple of str
        Sections cut from one block.
    notes : tuple of str
        What a reader of the scores must know.
    paper_size : tuple of int
        How many spots, of all sections, and how many genes the paper names.
    """

    key: str
    name: str
    patients: dict[str, str]
    panel: Panel
    ks: tuple[int, ...]
    map_genes: tuple[str, ...]
    replicates: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    paper_size: tuple[int, int]

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
        patches = {} if all_spots else {name: patch_file(folder, name) for name in self.patients}
        if missing := [path for path in patches.values() if not path.is_file()]:
            raise UserError(
                f"{missing[0]} does not exist, which says what spots are on the tissue; download the dataset, or keep "
                "all of its spots (--all-spots)."
            )
        return Dataset(
            self.name,
            rows,
            panel or self.panel,
            map_genes=self.map_genes,
            replicates=self.replicates,
            patches=patches,
            min_umi=min_umi,
            paper=self.name,
            paper_size=self.paper_size,
            notes=(*self.notes, *(notes if unnamed else ())),
        )


def recipes() -> dict[str, Recipe]:
    """Return the paper's datasets, by key."""
    return {
        key: Recipe(
            key,
            content["name"],
            content["sections"],
            PANELS[content["panel"]],
            tuple(content["k"]),
            tuple(content["map_genes"]),
            tuple(map(tuple, content["replicates"])),
            tuple(content["notes"]),
            (content["paper_spots"], content["paper_genes"]),
        )
        for key, content in entries().items()
        if content["from"] == "hest"
    }


def find_recipe(name: str) -> Recipe | None:
    """Return the dataset of a name in any case, None if the paper has none of it."""
    return recipes().get(as_key(name))
