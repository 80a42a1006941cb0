"""What a prediction was made from, as its file records it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.versions import package_versions
from napari_cmrcnet.retrieval.expected import Over, over_in_words
from napari_cmrcnet.retrieval.likeness import Likeness
from napari_cmrcnet.retrieval.protocol import average_in_words
from napari_cmrcnet.sections.formats.origin import Origin
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.pixel_size import PixelSize
from napari_cmrcnet.sections.totals import TARGET_SUM

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_cmrcnet.slides.slide import Slide


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a prediction was made from.

    Parameters
    ----------
    checkpoint : str
        Absolute path of the checkpoint, ``""`` if it was never saved.
    checkpoint_digest : str
        SHA-256 of its card, which names its whole content.
    trained_on, trained_on_patients : tuple of str
        Sections of its training, and the patients of all that it has seen; see `Card`.
    validated_on : tuple of str
        Sections by which the checkpoint's epoch was chosen.
    section, patient : str
        What was predicted.
    slide, spots : str
        Paths that it was read from.
    k : int
        Neighbours behind a value.
    weight_temperature : float or None
        By what similarities are divided before the softmax that weighs the neighbours; None where all count alike.
    min_umi : int
        Spots with fewer counts were left out.
    library : str
        Which section of the spots' file was read, where it was chosen.
    pool : str
        How cells or bins were asked to be pooled, see `sections.pooling.pool_for`; ``""`` is the default.
    mpp : float
        µm per full-resolution pixel.
    mpp_source : str
        Where that comes from.
    target_sum : float
        Total of a spot's counts after normalisation, of predicted and measured values.
    likeness : Likeness or None
        How like the training sections the slide is; None where the checkpoint does not know what these look like.
    expected_over : {"", "sections", "patients"}
        As the checkpoint's card has it: over what the expected accuracy of genes was measured, if it was.
    total_genes : int
        Over how many measured genes the totals are taken, see `totals_of`; 0 where no counts were measured.
    panel : Panel or None
        Marker genes that are shown first.
    similarity_floor : float or None
        Spots whose best similarity is lower are unlike anything in the bank; None where the checkpoint does not know.
    external : str
        The file of another tool that the values come from; ``""`` where a checkpoint of this software predicted them.
    device, precision : str
        What the patches were encoded on (``"cpu"``, ``"cuda:1"``) and in (``"fp32"``, ``"bf16"``); ``""``
        where no network encoded them.
    warnings : tuple of str
        What the list before the run had in amber: what makes maps or scores better, worse or less real than they look.
    notes : tuple of str
        What else the user should know.
    synthetic : bool
        Whether section or training data are simulated.
    packages : mapping of str to str
        Versions.
    date : str
        When, ISO 8601 in UTC.

    Raises
    ------
    UserError
        If the temperature is not above 0.
    """

    checkpoint: str = ""
    checkpoint_digest: str = ""
    trained_on: tuple[str, ...] = ()
    trained_on_patients: tuple[str, ...] = ()
    validated_on: tuple[str, ...] = ()
    section: str
    patient: str = ""
    slide: str = ""
    spots: str = ""
    k: int = 0
    min_umi: int = 0
    mpp: float
    mpp_source: str
    target_sum: float = TARGET_SUM
    panel: Panel | None = None
    library: str = ""
    pool: str = ""
    weight_temperature: float | None = None
    similarity_floor: float | None = None
    likeness: Likeness | None = None
    expected_over: Over = ""
    total_genes: int = 0
    external: str = ""
    device: str = ""
    precision: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    packages: Mapping[str, str] = field(default_factory=package_versions)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        if self.weight_temperature is not None and not self.weight_temperature > 0:
            raise UserError("The weight_temperature is not above 0.")

    @classmethod
    def of(cls, spots: "AnnData", slide: "Slide | None", size: PixelSize, section: str, patient: str) -> "Provenance":
        """Return the record of a section of which nothing is predicted: of its spots, slide and size of a pixel."""
        about = Origin.of(spots)
        return cls(
            section=section,
            patient=patient,
            slide="" if slide is None else str(Path(slide.path).resolve()),
            spots=str(about.path.resolve()),
            min_umi=about.min_umi,
            mpp=size.um,
            mpp_source=size.source,
            library=about.library,
            pool=about.pool,
            synthetic=about.synthetic,
        )

    @property
    def average(self) -> str:
        """What a value is, as `average_in_words`."""
        if self.external:
            return f"value in {Path(self.external).name}, which another tool predicted"
        return average_in_words(self.k, self.weight_temperature is not None)

    @property
    def over(self) -> str:
        """Over what the expected accuracy was measured, as `over_in_words`."""
        return over_in_words(self.expected_over, len(self.trained_on), len(self.trained_on_patients))

    def check_output(self, path: Path) -> None:
        """Refuse to write over what the prediction was made from, or into its checkpoint.

        Raises
        ------
        UserError
            If the path is the slide's, the spots', or in the checkpoint's folder.
        """
        out = path.resolve()
        sources = {"slide": self.slide, "spots": self.spots, "checkpoint": self.checkpoint, "table": self.external}
        for what, source in sources.items():
            known = Path(source).resolve()
            if source and (out == known or (what == "checkpoint" and known in out.parents)):
                raise UserError(
                    f"{path} would overwrite the {what} that {self.section} was predicted from; choose another name."
                )
