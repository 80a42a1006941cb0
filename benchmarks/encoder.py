"""Image encoders on a CPU, in fp32, beside timm's own models: ViT-B/32 with random weights, and the frozen default.

usage: python -m benchmarks.encoder [--small]
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import timm
import torch

from benchmarks.harness import Row, Way, at_most, identical, interleave, main
from benchmarks.untrained import untrained_checkpoint
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.pretrained import packaged
from napari_cmrcnet.retrieval.encode import encode_patches, readers, to_input
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.slides.patches import PatchBatch, read_patches

BATCH = 32
FROZEN_BATCH = 64
SAMPLE = Path(__file__).parent.parent / "sample_data"
CPU = torch.device("cpu")


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    yield _speed("tiny" if small else "paper", 1 if small else 2, 1 if small else 2)
    yield _frozen(16 if small else 4 * FROZEN_BATCH, 1 if small else 3)


def _speed(size: str, batches: int, rounds: int) -> Row:
    model = untrained_checkpoint(size, 100).model
    config = model.config
    layout = {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    own = timm.create_model("vit_base_patch32_224", num_classes=0, **layout)
    own.load_state_dict(model.image_encoder.backbone.state_dict())
    own.eval()
    pixels = np.random.default_rng(0).integers(256, size=(batches * BATCH, 224, 224, 3), dtype=np.uint8)
    chunks = np.split(np.arange(len(pixels)), batches)
    ready = [to_input(pixels[rows]) for rows in chunks]

    def ours(_: int) -> np.ndarray:
        read = (PatchBatch(rows, pixels[rows], np.empty(0, np.int64)) for rows in chunks)
        spots = SimpleNamespace(xy=np.zeros((len(pixels), 2)))
        return finish(encode_patches(model, read, spots, device=CPU, precision="fp32"))

    def of_timm(_: int) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([model.image_head(own.forward_features(batch).mean(dim=1)) for batch in ready])

    ways: dict[str, Way] = {"timm": of_timm, "ours": ours}
    taken = interleave(ways, rounds, same=identical)
    what, about = f"encoding {len(pixels)} patches on a CPU", {"sizes": {"patches": len(pixels), "batch": BATCH}}
    note = "timm's model on ready tensors, ours from bytes; the goal is 1.0, of which noise is up to 5 %"
    return taken.slower(f"{what}, fp32", "ours", than="timm", goal=at_most(1.05), note=note, **about)


def _frozen(spots: int, rounds: int) -> Row:
    """Encode patches of the sample's slide as a training does, reading included, beside the bare network."""
    encoder = packaged()
    network, spec = encoder.network(), fields_of(encoder.encoder)[0]
    mean, std = encoder.encoder.mean, encoder.encoder.std
    section = open_section(SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    with section.slide:
        xy = section.xy[:spots]
        cut = list(read_patches(section.slide, xy, spec, section.mpp, FROZEN_BATCH))
        ready = [(one.rows, to_input(one.pixels, mean, std)) for one in cut]

        def embedded(batch: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return network.embed_image(batch)

        def ours(_: int) -> np.ndarray:
            read = read_patches(section.slide, xy, spec, section.mpp, FROZEN_BATCH, readers(CPU))
            return finish(encode_patches(network, read, SimpleNamespace(xy=xy), mean=mean, std=std, device=CPU))

        def bare(_: int) -> np.ndarray:
            features = np.empty((len(xy), encoder.encoder.width), np.float32)
            with ThreadPoolExecutor(1) as pool:  # as ours, so that Cancel need not wait for a batch
                for places, batch in ready:
                    features[places] = pool.submit(embedded, batch).result()
            return features

        taken = interleave({"bare": bare, "ours": ours}, rounds, same=identical)
    what, about = f"encoding {len(xy)} patches by {encoder.encoder.title}", {"sizes": {"patches": len(xy)}}
    note = "the network on ready tensors, ours from the slide; the goal is 1.0, of which noise is up to 5 %"
    return taken.slower(f"{what}, fp32", "ours", than="bare", goal=at_most(1.05), note=note, **about)


if __name__ == "__main__":
    main(rows)
