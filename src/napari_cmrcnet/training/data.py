"""Training spots: which they are, in which order they come, and how a batch of them is read."""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.expected import Over
from napari_cmrcnet.retrieval.protocol import IMAGENET
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.nearby_spots import compact_blocks
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.stain import PatchColours, patch_colours, spots_to_measure
from napari_cmrcnet.sections.totals import target_of
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.distributed import processes

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]
PARTS = 4  # of a single training section, to choose a setting on
LEAST_SPOTS = 4  # a contrastive loss of fewer spots compares next to nothing
READ_AHEAD = 2  # batches


@dataclass(frozen=True)
class Part:
    """Some spots of a section, and their rows among all its spots (and patches).

    Parameters
    ----------
    section : Section
        With these spots alone.
    rows : int64 (n,)
        Which they are.
    target_sum : float
        Total of a spot after normalisation; the median, where the model reads genes so, is of the whole section.
    """

    section: Section
    rows: Rows
    target_sum: float


def split(sections: Sequence[Section], config: FitConfig) -> tuple[list[Part], list[Part]]:
    """Divide the spots into those trained on and those validated on.

    Returns
    -------
    training, validation : lists of Part
        A held-out section is in the second list alone; a share of spots is drawn with the seed from every
        section, which is then in both.

    Raises
    ------
    UserError
        If the held-out section is not there or too few spots are left on either side.
    """
    held_out, share = config.validation_section, config.validation
    if held_out is not None and held_out not in {section.name for section in sections}:
        raise UserError(f"There is no section {held_out!r} to validate on; choose one of those given.")
    training, validation = [], []
    for i, section in enumerate(sections):
        n = len(section.spots)
        if isinstance(share, float | int):
            order = np.random.default_rng([config.seed, i]).permutation(n)
            n_held_out = min(max(1, round(share * n)), n - 1)  # a spot of each section stays to train on
            validation.append(_part(section, order[:n_held_out], config))
            training.append(_part(section, order[n_held_out:], config))
        else:
            (validation if section.name == held_out else training).append(_part(section, np.arange(n), config))
    validation = [part for part in validation if len(part.rows)]
    for parts, use in ((training, "train"), (validation, "validate")):
        spots = sum(len(part.rows) for part in parts)
        if spots < LEAST_SPOTS and (parts or use == "train"):
            raise UserError(
                f"{count_text(spots, 'spot')} left to {use} on; at least {LEAST_SPOTS} are needed, preferably 1,000."
            )
    spots = sum(len(part.rows) for part in training)
    if spots < (count := processes()):
        raise UserError(f"{spots} spots cannot be shared by {count} processes; start fewer.")
    return training, validation


def left_out(training: Sequence[Section]) -> Over:
    """Return what is left out in turn inside the training sections: patients where two or more are known by name.

    Of a single section only parts can be left out, which lie beside those trained on: they say nothing of another
    section, and this returns ``""``.
    """
    if len(training) == 1:
        return ""
    patients = {section.patient for section in training}
    return "patients" if len(patients) > 1 and "" not in patients else "sections"


def left_out_names(training: Sequence[Section]) -> list[str]:
    """Return of each section the name of what it is left out with: its patient, or itself, as `left_out` says."""
    return [section.patient if left_out(training) == "patients" else section.name for section in training]


def left_out_parts(training: Sequence[Section]) -> list[Rows]:
    """Return what is left out in turn to choose a setting inside the training sections.

    Returns
    -------
    list of int64 arrays
        The rows, among all training spots, of each patient or section, as `left_out` says; of a single section, of
        its compact parts.
    """
    if len(training) == 1:
        parts = compact_blocks(training[0].xy, -(-len(training[0].spots) // PARTS))
        return parts if len(parts) > 1 else []  # a single spot
    names = left_out_names(training)
    of_spots = np.repeat(names, [len(section.spots) for section in training])
    return [np.flatnonzero(of_spots == name) for name in dict.fromkeys(names)]


def _part(section: Section, rows: NDArray[Any], config: FitConfig) -> Part:
    rows = np.sort(rows).astype(np.int64)
    target_sum = target_of(section.spots, config.preprocessing.target_sum)
    if len(rows) < len(section.spots):
        section = replace(section, spots=section.spots[rows].copy())
    return Part(section, rows, target_sum)


def epoch_batches(n: int, batch_size: int, n_processes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Put n spots in a random order and cut it into batches of equal size.

    Sizes differ by at most one spot a process, so there is no small rest at the end whose few pairs would
    weigh as much as a full batch's. Every process gets as many spots as the others; up to
    ``n_processes - 1`` spots sit an epoch out for it.

    Returns
    -------
    list of int64 arrays, (n_processes, spots)
        The spots of each batch, one row per process; a batch has at most ``batch_size`` spots (rounded up to a
        multiple of the processes) over all rows.
    """
    columns = n // n_processes
    order = rng.permutation(n)[: columns * n_processes].reshape(columns, n_processes)
    n_batches = -(-columns * n_processes // batch_size)
    return [batch.T for batch in np.array_split(order, n_batches)]


@dataclass(frozen=True)
class Batch:
    """A batch in memory that a GPU can copy from.

    Pixels are uint8 (b, side, side, 3), expression is float32 (b, genes), colours are the means and deviations by which
    the pixels are shifted and scaled, float32 (b, 2, 3).
    """

    pixels: torch.Tensor
    expression: torch.Tensor
    colours: torch.Tensor


class BatchReader:
    """Reads batches of spots in a thread, ahead of their use and in the order asked for.

    Parameters
    ----------
    parts : sequence of Part
        The spots; their numbers go from one part to the next.
    patches : mapping of str to uint8 (n, side, side, 3)
        By its name, the patches of a section, at all of its spots.
    genes : sequence of str
        That the model reads.
    config : FitConfig
        How it reads patches.
    pin : bool
        Keep batches where a GPU copies them from.

    Attributes
    ----------
    expression : CSR float32, (n, genes)
        Log-normalised, as the model reads it.
    patches, colours : lists
        Of each part, the patches of its section, and by what their pixels are shifted and scaled.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        patches: Mapping[str, Pixels],
        genes: Sequence[str],
        config: FitConfig,
        pin: bool = False,
    ) -> None:
        self.parts, self._pin = parts, pin
        self.patches = [patches[part.section.name] for part in parts]
        self.colours = [_colours(each, config) for each in self.patches]
        self._scales = np.array(self.colours, np.float32)  # (parts, 2, 3)
        self._part = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        self._row = np.concatenate([part.rows for part in parts])
        each = [expression_of(part.section.spots, genes, part.target_sum) for part in parts]
        self.expression = sparse.vstack(each, format="csr")

    def __len__(self) -> int:
        return len(self._row)

    def pixels(self, chosen: Rows) -> Pixels:
        """Read the patches of some spots, uint8 (b, side, side, 3)."""
        pixels = np.empty((len(chosen), *self.patches[0].shape[1:]), np.uint8)
        for number, patches in enumerate(self.patches):
            here = self._part[chosen] == number
            pixels[here] = patches[self._row[chosen[here]]]
        return pixels

    def read(self, chosen: Rows) -> Batch:
        """Read one batch of spots, given by their numbers."""
        pixels, expression = self.pixels(chosen), self.expression[chosen].toarray()
        batch = map(torch.from_numpy, (pixels, expression, self._scales[self._part[chosen]]))
        return Batch(*(tensor.pin_memory() if self._pin else tensor for tensor in batch))

    def batches(self, chosen: Sequence[Rows]) -> Generator[Batch]:
        """Read one batch after the other."""
        with ThreadPoolExecutor(1, thread_name_prefix="patches") as pool:
            ahead: deque[Future[Batch]] = deque()
            for rows in chosen:
                ahead.append(pool.submit(self.read, rows))
                if len(ahead) > READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def _colours(patches: Pixels, config: FitConfig) -> PatchColours:
    """Return by what a section's patches are shifted and scaled, as `section_colours` does for a new section."""
    if not config.preprocessing.colour_normalisation:
        return IMAGENET
    return patch_colours(patches[spots_to_measure(len(patches))])
