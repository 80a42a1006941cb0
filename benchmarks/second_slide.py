"""A second slide with a trained checkpoint: predicting it, beside the published way of inference.

usage: python -m benchmarks.second_slide [--small]

The published way encodes the patches of all training spots again, as it keeps no embeddings, then the slide's; takes
the full matrix of similarities; and averages all genes in a loop over spots, from a dense matrix. It is given its
patches ready in memory, inference mode, and on a GPU bf16, none of which it has. Of the training patches it encodes an
eightieth, whose time is counted eighty times: encoding takes time in proportion to them. Ours reads the patches from
the slide, and computes all genes, too. Both encode 32 patches at a time. The small encoder on a CPU, ViT-B/32 on a
GPU, with random weights.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from benchmarks.harness import Row, Way, at_least, interleave, main
from benchmarks.slides import Pixels, jpeg_slide
from benchmarks.untrained import opened, untrained_checkpoint
from napari_cmrcnet.common.device import autocast
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import read_patches
from napari_cmrcnet.slides.slide import open_slide

K = 50
BATCH = 32
SHARE = 80  # one in so many training patches is encoded


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    spots, bank, genes, side = (40, 800, 50, 2500) if small else (4096, 45_000, 3_000, 20_000)
    with opened(jpeg_slide(side), spots) as section:
        yield _row(section, untrained_checkpoint("tiny" if small else "small", bank, genes=genes), "cpu")
        if torch.cuda.is_available():
            yield _row(section, untrained_checkpoint("tiny" if small else "paper", bank, genes=genes), "cuda")
        else:
            print("a second slide on a GPU is skipped: torch finds no CUDA device")


def _row(section: Section, checkpoint: Checkpoint, device: Literal["cpu", "cuda"]) -> Row:
    bank = checkpoint.bank
    preprocessing = checkpoint.card.preprocessing
    side = preprocessing.patch.patch_px
    patches = np.empty((len(section.xy), side, side, 3), np.uint8)
    for batch in read_patches(section.slide, section.xy, preprocessing.patch, section.mpp):
        patches[batch.rows] = batch.pixels
    training = np.random.default_rng(0).integers(256, size=(len(bank) // SHARE, *patches.shape[1:]), dtype=np.uint8)
    dense = bank.expression.toarray()
    embeddings = torch.from_numpy(bank.embeddings)
    model = checkpoint.model.to(device)

    def encode(pixels: Pixels) -> torch.Tensor:
        return _encode(model, pixels, preprocessing.mean, preprocessing.std, device)

    def ours(_: int) -> np.ndarray:
        with open_slide(section.slide.path) as slide:  # newly, so that no tile is decoded already
            prediction = finish(
                predict(replace(section, slide=slide), checkpoint, PredictConfig(k=K, device=device, batch_size=BATCH))
            )
        return prediction.expression(prediction.genes)

    def published(_: int) -> np.ndarray:
        queries = torch.nn.functional.normalize(encode(patches))
        _, neighbours = (queries @ embeddings.T).topk(K, dim=1)
        return np.array([np.average(dense[chosen], axis=0) for chosen in neighbours.numpy()])

    def encode_training(_: int) -> None:
        encode(training)

    def same(one: np.ndarray, other: np.ndarray | None) -> None:
        if other is not None:  # encoding alone gives no expression
            alike = np.isclose(one, other, rtol=1e-4, atol=1e-4).all(axis=1).mean()
            assert alike > 0.95, f"only {alike:.1%} of the spots have the same expression"

    again = f"1/{SHARE} of the training patches"
    ways: dict[str, Way] = {"ours": ours, "published, the slide": published, again: encode_training}
    on_gpu = device == "cuda"
    times = interleave(ways, 3 if on_gpu else 1, same=same, warm_up=on_gpu).ways  # on a CPU each takes long enough
    seconds = times["published, the slide"].median + SHARE * times[again].median
    what = f"a second slide of {len(section.xy):,} spots, bank of {len(bank):,}, {len(bank.genes):,} genes, {device}"
    return Row(
        what,
        "published inference",
        seconds / times["ours"].median,
        goal=at_least(10),
        sizes={"spots": len(section.xy), "bank": len(bank), "genes": len(bank.genes), "k": K},
        times=times,
        note=f"published inference {seconds:.3g} s: of the training patches 1/{SHARE} was encoded and counted "
        f"{SHARE} times",
    )


def _encode(model: CMRCNet, patches: Pixels, mean: object, std: object, device: str) -> torch.Tensor:
    batches = []
    with torch.inference_mode(), autocast(torch.device(device)):  # in the precision that ours has, too
        for start in range(0, len(patches), BATCH):
            pixels = to_input(patches[start : start + BATCH], mean, std, torch.device(device))
            batches.append(model.embed_image(pixels).float().cpu())
    return torch.cat(batches)


if __name__ == "__main__":
    main(rows)
