"""What another tool predicted: a folder with a table for each section, scored as a method."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Task
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.external import open_external
from napari_cmrcnet.retrieval.external_files import KNOWN, is_external
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
    name : str
        What tables and figures call the tool.
    """

    folder: str
    name: str

    encoder_weights: ClassVar[EncoderWeights] = "none"

    @property
    def title(self) -> str:
        """In tables."""
        return self.name

    def fit(self, task: Task) -> Job["ExternalPredictor"]:
        """Take the genes that are scored."""
        yield Progress("Reading tables", 0, 1)
        return ExternalPredictor(Path(self.folder), self.name, tuple(task.genes), [])


@dataclass(frozen=True)
class ExternalPredictor:
    """Reads the table of a section. A gene that it lacks is the same at every spot, and so has no score."""

    folder: Path
    name: str
    genes: tuple[str, ...]
    said: list[str]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the tool has seen is not known; genes that it lacks."""
        return (f"{self.name} is of another tool: which sections it has seen is not known here.", *self.said)

    def predict(self, section: Section) -> Job[Float32]:
        """Return the table's values at the section's spots."""
        yield Progress("Reading tables", 0, 1)
        path = table_of(self.folder, section.name)
        found = open_external(path, section.spots)
        if lacking := len(section.spots) - len(found):
            raise UserError(
                f"{path} lacks {lacking:,} of the {len(section.spots):,} spots of {section.name}; all methods are "
                "scored on the same spots."
            )
        own = GeneNames.of(section.spots.var)
        theirs = {own.symbols[there]: found.genes[here] for here, there in found.names.in_common(own)}
        both = [(column, theirs[gene]) for column, gene in enumerate(self.genes) if gene in theirs]
        if not both:
            raise UserError(f"{path} has none of the {len(self.genes):,} genes that are scored.")
        values = np.zeros((len(section.spots), len(self.genes)), np.float32)
        values[:, [column for column, _ in both]] = found.expression([gene for _, gene in both])
        if missing := len(self.genes) - len(both):
            self.said.append(f"{self.name} lacks {missing:,} of {len(self.genes):,} genes on {section.name}: no score.")
        return values


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
