"""What `predict` costs beside the encoder's bare forward passes over the same patches, and the memory that it takes.

usage: python -m benchmarks.predicting [--small]

ViT-B/32 with random weights, which take the time that trained ones do, and a bank of 45,000 spots. The bare passes have
their patches ready in memory, as the tensors that the encoder reads. Both ways must retrieve the same neighbours.
Memory is that of a process of its own, with torch and the model loaded before, for a slide of 100,000² pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Row, at_most, extra_memory, interleave, main
from benchmarks.slides import gigantic_slide, jpeg_slide
from benchmarks.untrained import opened, untrained_checkpoint
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.search import nearest
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import read_patches
from napari_cmrcnet.slides.slide import open_slide

K = 50
BATCH = 32


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    checkpoint = untrained_checkpoint("tiny" if small else "paper", 500 if small else 45_000)
    with opened(jpeg_slide(2500), 64 if small else 128) as section:
        yield _overhead(section, checkpoint, "cpu", 1 if small else 2, 1.05)
    if torch.cuda.is_available():
        with opened(jpeg_slide(2500 if small else 20_000), 64 if small else 4096) as section:
            yield _overhead(section, checkpoint, "cuda", 1 if small else 5, 1.25)
    yield _memory(5000 if small else 100_000, 40 if small else 20_000)
    if not torch.cuda.is_available():
        print("predict on a GPU is skipped: torch finds no CUDA device")


def _overhead(section: Section, checkpoint: Checkpoint, device: str, rounds: int, most: float) -> Row:
    precision = "fp32" if device == "cpu" else "bf16"
    bare = _bare_passes(section, checkpoint, device)  # warms the encoder up, which both ways share

    def whole(_: int) -> np.ndarray:
        with open_slide(section.slide.path) as slide:  # newly, so that no tile is decoded already
            job = predict(
                replace(section, slide=slide),
                checkpoint,
                PredictConfig(k=K, device=device, precision=precision, batch_size=BATCH),
            )
            return finish(job).neighbours

    def same(embeddings: np.ndarray, neighbours: np.ndarray) -> None:
        expected, _ = nearest(embeddings, checkpoint.bank.embeddings, K, device=device)
        shared = [len(np.intersect1d(*pair)) for pair in zip(expected, neighbours, strict=True)]
        assert np.mean(shared) > 0.999 * K, "they differ by more than the order of a batch's patches explains"

    taken = interleave({"forward passes": bare, "predict": whole}, rounds, same=same, warm_up=False)
    what = f"predict {len(section.xy):,} spots, end to end, {device} in {precision}"
    sizes = {"spots": len(section.xy), "bank": len(checkpoint.bank.obs), "k": K}
    cpu = f"by CPU seconds × {taken.ratio('predict', 'forward passes', by='cpu'):.4g}"
    return taken.slower(what, "predict", than="forward passes", goal=at_most(most), note=cpu, sizes=sizes)


def _bare_passes(section: Section, checkpoint: Checkpoint, device: str) -> Callable[[int], np.ndarray]:
    """Return the encoder's forward passes over patches that lie ready on the device, and the embeddings they give."""
    card = checkpoint.card.preprocessing
    read = read_patches(section.slide, section.xy, card.patch, section.mpp, BATCH)
    ready = [(batch.rows, to_input(batch.pixels, card.mean, card.std, device)) for batch in read]
    model = checkpoint.model.to(device)

    def embed(batches: Sequence[torch.Tensor]) -> np.ndarray:
        half = nullcontext() if device == "cpu" else torch.autocast(device, torch.bfloat16)
        with torch.inference_mode(), half:
            found: np.ndarray = torch.cat([model.embed_image(pixels) for pixels in batches]).float().cpu().numpy()
        return found

    def run(_: int) -> np.ndarray:
        found = embed([pixels for _, pixels in ready])
        embeddings = np.empty_like(found)
        embeddings[np.concatenate([rows for rows, _ in ready])] = found
        return embeddings

    embed([ready[0][1]])
    return run


def _memory(side: int, spots: int) -> Row:
    taken = extra_memory(_predicting, gigantic_slide(side), spots)
    what = f"memory, predict {spots:,} spots of a {side:,}² slide, beyond torch and the model"
    return Row(what, "", taken, "MB", at_most(1500), sizes={"spots": spots})


def _predicting(path: Path, spots: int) -> Callable[[], object]:
    checkpoint = untrained_checkpoint("tiny", 10_000, depth=1)  # its size is not what is measured
    with torch.inference_mode():
        checkpoint.model.embed_image(torch.zeros(BATCH, 3, 224, 224))

    def run() -> None:
        with opened(path, spots, pitch_um=370.0) as section:
            assert len(section.xy) == spots
            finish(predict(section, checkpoint, PredictConfig(k=K, device="cpu", batch_size=BATCH)))

    return run


if __name__ == "__main__":
    main(rows)
