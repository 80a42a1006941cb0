"""The image encoder on a CPU: in fp32 beside timm's own model, in int8 beside fp32, and what int8 costs.

usage: python -m benchmarks.encoder [--small]

Speed is that of ViT-B/32 with random weights. What int8 costs is measured with trained ones: of the synthetic sample,
and of a checkpoint and its section where CMRCNET_CHECKPOINT, CMRCNET_SLIDE and CMRCNET_SPOTS name them. The neighbours
that both precisions share are counted, and the mean PCC over the 50 most expressed genes is compared.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch

from benchmarks.harness import Row, Way, at_least, at_most, identical, interleave, main
from benchmarks.untrained import untrained_checkpoint
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import pcc_job
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encode import encode_patches, to_input
from napari_cmrcnet.retrieval.int8 import in_int8
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.patches import PatchBatch
from napari_cmrcnet.sections.section import open_section

BATCH = 32
K = 50
SAMPLE = Path(__file__).parent.parent / "sample_data"
CPU = torch.device("cpu")


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    yield from _speed("tiny" if small else "paper", 1 if small else 2, 1 if small else 2)
    yield from _cost("the synthetic sample", SAMPLE / "sample.cmrcnet", SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    named = [os.environ.get(f"CMRCNET_{name}") for name in ("CHECKPOINT", "SLIDE", "SPOTS")]
    if all(named):
        yield from _cost("a real section", *map(Path, named))
    else:
        print("the cost of int8 on a real section is skipped: CMRCNET_CHECKPOINT, _SLIDE and _SPOTS are not all set")


def _speed(size: str, batches: int, rounds: int) -> Iterator[Row]:
    model = untrained_checkpoint(size, 100).model
    config = model.config
    layout = {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    own = timm.create_model("vit_base_patch32_224", num_classes=0, **layout)
    own.load_state_dict(model.image_encoder.backbone.state_dict())
    own.eval()
    pixels = np.random.default_rng(0).integers(256, size=(batches * BATCH, 224, 224, 3), dtype=np.uint8)
    chunks = np.split(np.arange(len(pixels)), batches)
    ready = [to_input(pixels[rows]) for rows in chunks]
    rounded = in_int8(model)

    def ours(_: int) -> np.ndarray:
        read = (PatchBatch(rows, pixels[rows], np.empty(0, np.int64)) for rows in chunks)
        return finish(encode_patches(model, read, len(pixels), device=CPU, precision="fp32")).embeddings

    def of_timm(_: int) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([model.image_head(own.forward_features(batch).mean(dim=1)) for batch in ready])

    def int8(_: int) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([rounded.embed_image(batch) for batch in ready])

    ways: dict[str, Way] = {"timm": of_timm, "ours": ours, "int8": int8}
    identical(of_timm(0), ours(0))
    taken = interleave(ways, rounds, same=_near, warm_up=False)
    what, about = f"encoding {len(pixels)} patches on a CPU", {"sizes": {"patches": len(pixels), "batch": BATCH}}
    note = "timm's model on ready tensors, ours from bytes; the goal is 1.0, of which noise is up to 5 %"
    yield taken.slower(f"{what}, fp32", "ours", than="timm", goal=at_most(1.05), note=note, **about)
    yield taken.faster(f"{what}, int8", "int8", than="timm", goal=at_least(1.5), **about)


def _near(expected: np.ndarray, found: np.ndarray) -> None:
    cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.99


def _cost(name: str, checkpoint: Path, slide: Path, spots: Path) -> Iterator[Row]:
    """Say which share of the neighbours int8 finds, and what becomes of the PCC."""
    loaded, section = Checkpoint.load(checkpoint), open_section(slide, spots)
    with section.slide:
        predictions = [
            finish(predict(section, loaded, k=K, device="cpu", precision=precision)) for precision in ("fp32", "int8")
        ]
    shared = [len(np.intersect1d(*pair)) / K for pair in zip(*(made.neighbours for made in predictions), strict=True)]
    pcc = [_pcc(made) for made in predictions]
    note = f"mean PCC of the 50 most expressed genes {pcc[0]:.4f} in fp32, {pcc[1]:.4f} in int8"
    sizes = {"spots": len(section.xy), "k": K}
    yield Row(f"neighbours that int8 keeps, {name}", "fp32", 100 * np.mean(shared).item(), "%", note=note, sizes=sizes)


def _pcc(prediction: Prediction) -> float:
    return finish(pcc_job(prediction)).sets["HEG"].pcc or float("nan")


if __name__ == "__main__":
    main(rows)
