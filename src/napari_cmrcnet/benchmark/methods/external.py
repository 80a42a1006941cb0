"""What another tool predicted: a folder with a table for each section, scored as a method."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.suffixes import ends_in
from napari_cmrcnet.retrieval.external import open_external
from napari_cmrcnet.retrieval.external_files import KNOWN
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.sections.section import Section

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class External:
    """Tables of log-normalised values, as `open_external` reads them. Nothing is fitted.

    Parameters
    ----------
    folder : str
        Where ``SECTION.h5ad``, ``.csv``, ``.tsv`` or ``.parquet`` is for each section.
    title : str
        What tables and figures call the tool.
    """

    folder: str
    title: str

    encoder_weights: ClassVar[EncoderWeights] = "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Take the genes that are scored. A gene that a table lacks is the same at every spot, and so has no score."""
        yield Progress("Reading tables", 0, 1)
        notes = [f"{self.title} is of another tool: which sections it has seen is not known here."]

        def predict(section: Section) -> Job[Float32]:
            yield Progress("Reading tables", 0, 1)
            path = table_of(Path(self.folder), section.name)
            found = open_external(path, section.spots)
            if lacking := len(section.spots) - len(found):
                raise UserError(
                    f"{path} lacks {lacking:,} of the {len(section.spots):,} spots of {section.name}; all methods are "
                    "scored on the same spots."
                )
            own = GeneNames.of(section.spots.var)
            places = found.names.places_in(own).tolist()
            theirs = {own.symbols[there]: gene for gene, there in zip(found.genes, places, strict=True) if there >= 0}
            both = [(column, theirs[gene]) for column, gene in enumerate(task.genes) if gene in theirs]
            if not both:
                raise UserError(f"{path} has none of the {len(task.genes):,} genes that are scored.")
            values = np.zeros((len(section.spots), len(task.genes)), np.float32)
            values[:, [column for column, _ in both]] = found.expression([gene for _, gene in both])
            if missing := len(task.genes) - len(both):
                notes.append(
                    f"{self.title} lacks {missing:,} of {len(task.genes):,} genes on {section.name}: no score."
                )
            return values

        return Fitted(predict, notes)


def tables_in(folder: Path) -> list[Path]:
    """Return all tables of a folder, in the order of their names; none where there is no folder."""
    return sorted(path for path in folder.iterdir() if ends_in(path.name, KNOWN)) if folder.is_dir() else []


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
