"""What a checkpoint keeps of its training spots, to show and judge what is retrieved from them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.retrieval.queries import encode_section
from napari_cmrcnet.retrieval.similarity_floor import similarity_floor
from napari_cmrcnet.retrieval.thumbnails import write_thumbnails
from napari_cmrcnet.slides.patches import PatchBatch
from napari_cmrcnet.training.data import BatchReader, Part, Rows, SpotSet

BLOCK = 64  # patches read at a time


def training_floor(
    parts: Sequence[Part], spots: SpotSet, query: Query, model: CMRCNet, bank: Bank, device: torch.device
) -> Job[float | None]:
    """Encode the patches of the bank's spots as those of a new section, and return the `similarity_floor`.

    Parameters
    ----------
    parts : sequence of Part
        The sections with the spots trained on, in the order of the bank.
    spots : SpotSet
        The same spots.
    query : Query
        What the bank is asked with.
    model : CMRCNet
        Trained; left in evaluation mode and on ``device``.
    bank : Bank
        Made with the model.
    device : torch.device
        Where to encode.
    """
    reader = BatchReader(spots)
    queries, first = [], 0
    for part, colours in zip(parts, spots.colours, strict=True):
        n = len(part.rows)
        batches = (
            PatchBatch(rows, reader.pixels(first + rows), np.empty(0, np.int64)) for rows in _blocks(n)
        )  # consumed before the next part begins
        queries.append((yield from encode_section(model, part.section, batches, colours, query, device=device)))
        first += n
    return (yield from similarity_floor(np.concatenate(queries), bank.embeddings, str(device)))


def training_thumbnails(spots: SpotSet, path: Path) -> Job[None]:
    """Write the thumbnails of the spots trained on, in the order of the bank."""
    reader = BatchReader(spots)
    yield from write_thumbnails(path, (reader.pixels(rows) for rows in _blocks(len(spots))), len(spots))


def _blocks(n: int) -> Iterator[Rows]:
    return (np.arange(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
