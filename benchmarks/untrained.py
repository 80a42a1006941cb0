"""Checkpoints with random weights, and sections of the benchmarks' slides: neither changes what a pass costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse
import torch

from benchmarks.embeddings import random_embeddings
from benchmarks.slides import MPP
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import preset
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.card import Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.sections.section import Section, open_section

GENES = 100


def untrained_checkpoint(
    size: Literal["paper", "small", "tiny"], spots: int, genes: int = GENES, **settings: Any
) -> Checkpoint:
    """Return a checkpoint with random weights and a random bank; ``settings`` as of `preset`."""
    torch.manual_seed(0)
    names = tuple(f"G{i}" for i in range(genes))
    config = preset(size, genes, reconstruction=False, **settings)
    place = {"array_row": np.int32(0), "array_col": np.int32(0), "x": 0.0, "y": 0.0}
    obs = pd.DataFrame({"section": "A", "patient": "", **place}, index=[str(i) for i in range(spots)])
    _, embeddings = random_embeddings(1, spots)
    expression = scipy.sparse.random(spots, genes, 0.1, "csc", np.float32, rng=np.random.default_rng(0))
    bank = Bank(embeddings, expression, names, ("",) * genes, obs)
    card = Card(model=config, genes=names, sections=("A",), patients=("",), seed=0, epochs=0)
    return Checkpoint(card, CMRCNet(config).eval(), bank)


@contextmanager
def opened(path: Path, n: int, pitch_um: float = 100.0) -> Iterator[Section]:
    """Open a section with the first n spots of a grid."""
    section = open_section(path, mpp=MPP, pitch_um=pitch_um)
    with section.slide:
        yield Section(section.name, section.slide, section.spots[:n].copy(), "", section.pixel_size)
