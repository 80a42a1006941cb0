"""What a compared method is: it is fitted to a task and then predicts sections."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from scipy import sparse

from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum
from napari_cmrcnet.slides.patches import PatchSpec


@dataclass(frozen=True)
class Task:
    """What is asked of every method alike.

    Parameters
    ----------
    training : tuple of Section
        Measured sections, each with a name of its own, whose slides are open.
    genes : tuple of str
        Genes to predict, in the order of a prediction's columns. Choose them on the training sections only
        (`highly_variable_genes`); every training section has to have them.
    patch : PatchSpec
        Patches to read at the spots.
    seed : int
        Of all that is random. On the CPU the same seed gives the same prediction.
    epochs : int, optional
        Passes over the training spots; by default the method's published number. Methods that solve
        an equation have no use for it.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    weights : Path, optional
        Local weights of the method's image encoder. Methods whose `encoder_weights` are needed refuse to start without;
        the others train from scratch without, or say that they take none.
    folder : Path
        Where a training that goes on after a stop lives: CMRCNet's.
    """

    training: tuple[Section, ...]
    genes: tuple[str, ...]
    patch: PatchSpec = field(default_factory=PatchSpec)
    seed: int = 0
    epochs: int | None = None
    device: str = "auto"
    weights: Path | None = None
    folder: Path = Path()

    def expression(self, target_sum: TargetSum = TARGET_SUM) -> sparse.csr_matrix:
        """Return the log-normalised expression of all training spots, section after section, CSR float32 (n, genes)."""
        each = [expression_of(section.spots, self.genes, target_sum) for section in self.training]
        return sparse.vstack(each, format="csr")


@dataclass(frozen=True)
class Fitted:
    """A fitted method.

    Parameters
    ----------
    predict : callable
        Returns the job that predicts a section, which yields at least once a batch, from its slide and spots; its
        counts are read by the measured-neighbour ceiling alone. The job returns log-normalised expression as
        `expression_of` gives the measured one, float32 (n, len(task.genes)), the spots and genes in the order of the
        section and the task. Of a method that averages neighbours such an array for each number of them, by that
        number as text. It raises `UserError` if patches cannot be read or there is not enough memory on the device.
    notes : list of str
        What a reader of the scores must know, a sentence each: trained from scratch, windows in place of slides.
        Complete after the last prediction, which may add to it.
    """

    predict: Callable[[Section], Job[Any]]
    notes: list[str] = field(default_factory=list)


EncoderWeights = Literal["none", "optional", "needed"]


class Method(Protocol):
    """A way to predict expression from patches, with its published settings unless others are given.

    Attributes
    ----------
    title : str
        In tables and figures: "ST-Net".
    encoder_weights : {"none", "optional", "needed"}
        Whether `Task.weights` may or must be given.
    """

    @property
    def title(self) -> str: ...  # noqa: D102  described above
    @property
    def encoder_weights(self) -> EncoderWeights: ...  # noqa: D102

    def fit(self, task: Task) -> Job[Fitted]:
        """Fit the method to the training sections.

        Nothing is kept on the disk but patches and features that any method may use again: a fit that is stopped
        is done again from its start.

        Parameters
        ----------
        task : Task
            Sections, genes, patches and seed.

        Yields
        ------
        Progress
            At least once a batch; close the job to stop it.

        Raises
        ------
        UserError
            If patches cannot be read, weights are missing or do not fit, or the loss is not finite.
        """
