"""What `predict` costs beside the encoder's bare forward passes over the same patches, ViT-B/32 on the CPU.

usage: python benchmarks/predict_overhead.py SLIDE [--mpp MPP] [--spots 500] [--rounds 3]

Both ways run in turn in one process. The weights are untrained (they do not change the time) and the bank has
1,000 random spots. Prints wall and CPU seconds of each round, and the ratio of the medians; a line of JSON last.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import torch

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import preset
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.card import Card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.sections.patches import read_patches
from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.slide import open_slide

BATCH = 64


def untrained_checkpoint() -> Checkpoint:
    """Return a ViT-B/32 with random weights and a random bank."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    genes = tuple(f"G{i}" for i in range(100))
    config = preset("paper", len(genes), reconstruction=False)
    obs = pd.DataFrame({"section": "A", "patient": "", "array_row": 0, "array_col": 0, "x": 0.0, "y": 0.0},
                       index=[str(i) for i in range(1000)])  # fmt: skip
    embeddings = unit_length(rng.normal(size=(1000, config.embedding_dim)))
    expression = scipy.sparse.random(1000, len(genes), 0.1, "csc", np.float32, rng=rng)
    bank = Bank(embeddings, expression, genes, ("",) * len(genes), obs)
    card = Card(config, genes, ("A",), ("",), seed=0, epochs=0)
    return Checkpoint(card, CMRCNet(config).eval(), bank)


def bare_forward(checkpoint: Checkpoint, section: Section) -> Callable[[], None]:
    """Return the encoder's forward passes over patches that lie ready in memory."""
    card = checkpoint.card.preprocessing
    read = read_patches(section.slide, section.xy, card.patch, section.mpp, BATCH)
    batches = [to_input(batch.pixels, card.mean, card.std, torch.device("cpu")) for batch in read]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                checkpoint.model.embed_image(batch)

    return run


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Run the rounds and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--spots", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    section = open_section(options.slide, mpp=options.mpp, pitch_um=100.0)
    if section.spots.n_obs < options.spots:
        raise SystemExit(f"The tissue has room for {section.spots.n_obs} spots only.")
    chosen = np.linspace(0, section.spots.n_obs - 1, options.spots).astype(int)
    section = Section(section.name, section.slide, section.spots[chosen].copy(), "", section.pixel_size, ())
    checkpoint = untrained_checkpoint()
    bare = bare_forward(checkpoint, section)

    def whole() -> None:
        # A new slide, so that no round finds tiles decoded by the one before.
        with open_slide(options.slide) as slide:
            fresh = Section(section.name, slide, section.spots, "", section.pixel_size, ())
            finish(predict(fresh, checkpoint, device="cpu", batch_size=BATCH))

    bare()  # a warm-up, not counted
    rounds = [(timed(bare), timed(whole)) for _ in range(options.rounds)]
    for (bare_wall, bare_cpu), (wall, cpu) in rounds:
        print(f"forward {bare_wall:.2f} s (CPU {bare_cpu:.2f})   predict {wall:.2f} s (CPU {cpu:.2f})")
    ratio = statistics.median(b[0] for _, b in rounds) / statistics.median(a[0] for a, _ in rounds)
    print(f"predict / forward: {ratio:.3f}")
    print(json.dumps({"benchmark": "predict_overhead", "spots": options.spots, "ratio": round(ratio, 4)}))


if __name__ == "__main__":
    main()
