"""Networks that read all spots of a slide at once: HisToGene and THItoGene, and their window form."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.benchmark.methods.regression import train
from napari_cmrcnet.common.device import autocast, choose_device, enough_memory
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.nearby_spots import compact_blocks
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

LOG10 = float(np.log(10))
NEIGHBOURS = 4  # in THItoGene's graph
POSITIONS = 64  # array positions that can be told apart in each direction; more if the training sections have more


@dataclass(frozen=True)
class SlideMethod(ABC):
    """A method whose network reads a slide at once, and how it is trained.

    Parameters
    ----------
    epochs : int
        Passes over the slides.
    learning_rate : float
        Of Adam.
    window, full_attention : int
        A slide of more than `full_attention` spots is read in windows of at most `window` neighbouring spots; any
        Visium slide is read at once.
    """

    epochs: int
    learning_rate: float
    window: int = 128
    full_attention: int = 5000

    title: ClassVar[str]
    encoder_weights: ClassVar[EncoderWeights] = "none"

    @abstractmethod
    def build(self, n_genes: int, n_positions: int, side: int) -> nn.Module:
        """Build the network, for patches of `side` pixels.

        It takes patches (n, 3, side, side) of 0–255, array positions (n, 2) and the rows of each spot's neighbours
        (n, k) to log10 expression (n, genes).
        """

    def parts_of(self, section: Section) -> list[Rows]:
        """Return the rows of the spots that are read at once: all, or compact windows."""
        n = len(section.xy)
        return compact_blocks(section.xy, n if n <= self.full_attention else self.window)

    def fit(self, task: Task) -> Job[Fitted]:
        """Train the network with the mean squared error of log10 expression; a batch is a slide, or a window of one.

        The target is log10(1 + x), x being counts of 10,000 a spot (over all its genes, where the authors normalise the
        genes predicted alone: what is predicted must be the same for every method).
        """
        device = choose_device(task.device)
        slides, targets, windows = [], [], []
        for i, section in enumerate(task.training):
            slides.append((yield from _slide_spots(section, task.patch)))
            targets.append(torch.from_numpy(expression_of(section.spots, task.genes).toarray() / np.float32(LOG10)))
            windows += [(i, rows) for rows in self.parts_of(section)]
        positions = max(POSITIONS, *(int(slide.positions.max()) + 1 for slide in slides))
        torch.manual_seed(task.seed)
        network = self.build(len(task.genes), positions, task.patch.patch_px // 2).to(device)

        def loss(window: tuple[int, Rows], _: np.random.Generator) -> Tensor:
            slide, rows = window
            predicted = network(*slides[slide].tensors(rows, positions - 1, device))
            return nn.functional.mse_loss(predicted.float(), targets[slide][rows].to(device))

        def batches(rng: np.random.Generator) -> list[tuple[int, Rows]]:
            return [windows[i] for i in rng.permutation(len(windows))]

        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        yield from train(self.title, network, optimiser, batches, loss, task, self.epochs)
        return self._fitted(network, positions, task, device)

    def _fitted(self, network: nn.Module, positions: int, task: Task, device: torch.device) -> Fitted:
        """Return the trained network as a method; it has learned so many array positions."""
        notes = [note for section in task.training for note in self._windows(section)]

        def predict(section: Section) -> Job[Float32]:
            notes.extend(self._windows(section))
            slide = yield from _slide_spots(section, task.patch)
            if beyond := int((slide.positions >= positions).any(axis=1).sum()):
                notes.append(
                    f"{section.name} has {count_text(beyond, 'spot')} beyond the array positions of the training "
                    f"sections; {self.title} used the last known positions there."
                )
            parts = self.parts_of(section)
            predicted = np.empty((len(section.spots), len(task.genes)), np.float32)
            network.eval()
            for done, rows in enumerate(parts):
                yield Progress("Predicting", done, len(parts), "windows")
                with enough_memory(device, "a slide"), torch.inference_mode(), autocast(device):
                    log10 = network(*slide.tensors(rows, positions - 1, device)).float().cpu().numpy()
                predicted[rows] = log10 * np.float32(LOG10)
            yield Progress("Predicting", len(parts), len(parts), "windows")
            return predicted

        return Fitted(predict, notes)

    def _windows(self, section: Section) -> list[str]:
        """Say it if a section is too large to be read at once."""
        if (n := len(section.spots)) <= self.full_attention:
            return []
        return [
            f"{self.title} read {section.name} in windows of at most {self.window} neighbouring spots: full attention "
            f"over {n} spots is not practical."
        ]


@dataclass(frozen=True, eq=False)
class SlideSpots:
    """What a network reads of a section: patches uint8 (n, px, px, 3), xy float64 and array positions int64 (n, 2)."""

    patches: NDArray[np.uint8]
    xy: NDArray[np.float64]
    positions: Rows

    def tensors(self, rows: Rows, most_position: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return the inputs of a network for a window of spots, as `SlideMethod.build` describes them.

        Of each patch the middle is read, half of its side: 112 of 224 pixels, as published.
        """
        side = self.patches.shape[1] // 2
        first = (self.patches.shape[1] - side) // 2
        middle = self.patches[rows, first : first + side, first : first + side]
        pixels = torch.from_numpy(np.ascontiguousarray(middle)).to(device)
        positions = torch.from_numpy(self.positions[rows].clip(0, most_position)).to(device)
        neighbours = torch.from_numpy(nearest_neighbours(self.xy[rows], NEIGHBOURS)).to(device)
        return pixels.permute(0, 3, 1, 2).float(), positions, neighbours


def _slide_spots(section: Section, patch: PatchSpec) -> Job[SlideSpots]:
    patches = yield from patch_cache(section, patch)
    return SlideSpots(patches, section.xy, array_positions(section))


def array_positions(section: Section) -> Rows:
    """Return each spot's column and row on the array, int64 (n, 2), counted from 0.

    Where the spots file does not number the array, positions are counted in steps of the distance of neighbours.
    """
    obs = section.spots.obs
    if {"array_row", "array_col"} <= set(obs.columns):
        numbered: Rows = obs[["array_col", "array_row"]].to_numpy(np.int64)
        return np.maximum(numbered, 0)
    pitch = spots_lattice(section.spots).pitch
    pitch = pitch if pitch > 0 else 1.0  # a single spot has none
    steps: NDArray[np.float64] = (section.xy - section.xy.min(axis=0)) / pitch
    return np.rint(steps).astype(np.int64)


def nearest_neighbours(xy: NDArray[np.float64], k: int) -> Rows:
    """Return the rows of the k spots nearest to each, itself left out, int64 (n, k'); k' is k or n - 1, if less.

    A single spot is its own neighbour.
    """
    n = len(xy)
    if n == 1:
        return np.zeros((1, 1), np.int64)
    return without_self(cKDTree(xy).query(xy, k=min(k, n - 1) + 1)[1])


def without_self(found: Rows) -> Rows:
    """Leave each row's own number out of the rows found for it, (n, k + 1); the last, where it is not among them."""
    n, k = found.shape[0], found.shape[1] - 1
    others = found != np.arange(n)[:, None]
    others[others.all(axis=1), -1] = False  # rows that coincide: the row itself need not be among those found
    rest: Rows = found[others].reshape(n, k).astype(np.int64)
    return rest
