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
from napari_cmrcnet.training.data import BatchReader, Pixels, Rows

BLOCK = 64  # patches read at a time


def training_floor(
    spots: BatchReader, query: Query, model: CMRCNet, bank: Bank, device: torch.device
) -> Job[float | None]:
    """Encode the patches of the bank's spots as those of a new section, and return the `similarity_floor`.

    Parameters
    ----------
    spots : BatchReader
        Those trained on, in the order of the bank.
    query : Query
        What the bank is asked with.
    model : CMRCNet
        Trained; left in evaluation mode and on ``device``.
    bank : Bank
        Made with the model.
    device : torch.device
        Where to encode.
    """
    queries = []
    for part, patches, colours in zip(spots.parts, spots.patches, spots.colours, strict=True):
        batches = (PatchBatch(rows, patches[part.rows[rows]], np.empty(0, np.int64)) for rows in _blocks(part.rows))
        queries.append((yield from encode_section(model, part.section, batches, colours, query, device=device)))
    return (yield from similarity_floor(np.concatenate(queries), bank.embeddings, str(device)))


def training_thumbnails(patches: Sequence[tuple[Pixels, Rows]], path: Path) -> Job[None]:
    """Write the thumbnails of the spots trained on: of each section the patches, and the rows of these spots."""
    blocks = (of_section[rows[block]] for of_section, rows in patches for block in _blocks(rows))
    yield from write_thumbnails(path, blocks, sum(len(rows) for _, rows in patches))


def _blocks(rows: Rows) -> Iterator[Rows]:
    return (np.arange(start, min(start + BLOCK, len(rows))) for start in range(0, len(rows), BLOCK))
