"""Prediction: the steps of the method in order, out-of-memory, unreadable patches, cancelling, wrong requests."""

import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from napari_cmrcnet.common.device import autocast
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encode import encode_patches, to_input
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.stain import patch_colours
from napari_cmrcnet.slides.patches import PatchBatch, read_patches

CPU = torch.device("cpu")


class Colour(torch.nn.Module):
    """An encoder whose embedding is the patch's mean colour, and which remembers how it was called."""

    def __init__(self, fits: int = 1000, out_of_memory: Exception | None = None) -> None:
        super().__init__()
        self.fits, self.sizes, self.inference = fits, list[int](), list[bool]()
        self.out_of_memory = out_of_memory or torch.OutOfMemoryError("CUDA out of memory")

    def embed_image(self, pixels: torch.Tensor) -> torch.Tensor:
        self.inference.append(torch.is_inference_mode_enabled())
        self.sizes.append(len(pixels))
        if len(pixels) > self.fits:
            raise self.out_of_memory
        return pixels.mean(dim=(2, 3))


def patches(n: int, side: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, side, side, 3), dtype=np.uint8)


def batches(pixels: np.ndarray, size: int, unreadable: tuple[int, ...] = ()) -> Iterator[PatchBatch]:
    """Batches in an order that is not the rows' own, as a planned read gives them."""
    order = np.random.default_rng(1).permutation(len(pixels))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield PatchBatch(rows, pixels[rows], rows[np.isin(rows, unreadable)])


def spots(n: int) -> Any:
    """What of a section of n spots is asked for."""
    names = pd.Index([f"spot {row}" for row in range(n)])
    return SimpleNamespace(xy=np.zeros((n, 2)), spots=SimpleNamespace(obs_names=names), slide=SimpleNamespace(path="S"))


def encode(model: Any, source: Any, n: int) -> np.ndarray:
    return finish(encode_patches(model, source, spots(n)))


@pytest.fixture
def section(tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]) -> Section:
    opened: Section = open_small(*write_section(tmp_path, "C", 3), name="C", patient="P3")
    return opened


def test_pixels_become_normalised_floats() -> None:
    pixels = patches(2)
    mean, std = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    expected = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    for given in (pixels, torch.from_numpy(pixels)):
        found = to_input(given, mean, std)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_embeddings_are_in_the_order_of_the_spots() -> None:
    pixels = patches(50)
    model = Colour()
    found = encode(model, batches(pixels, 8), 50)
    np.testing.assert_allclose(found, to_input(pixels).mean(dim=(2, 3)).numpy(), atol=1e-6)
    assert model.sizes == [8] * 6 + [2]


def test_inference_mode_does_not_reach_who_runs_the_job() -> None:
    model = Colour()
    for _ in encode_patches(model, batches(patches(20), 8), spots(20)):  # type: ignore[arg-type]
        assert not torch.is_inference_mode_enabled()
    assert all(model.inference)


@pytest.mark.parametrize("fits", [1, 3, 7, 8])
def test_running_out_of_memory_changes_nothing_but_the_batch(fits: int) -> None:
    pixels = patches(30)
    expected = encode(Colour(), batches(pixels, 8), 30)
    model = Colour(fits)
    np.testing.assert_allclose(encode(model, batches(pixels, 8), 30), expected, atol=1e-6)
    failures = sum(size > fits for size in model.sizes)
    assert failures <= 3  # the size that fits is remembered


def test_running_out_of_memory_late(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = patches(30)
    expected = encode(Colour(), batches(pixels, 8), 30)
    for call in range(4):
        model = Colour()
        forward, calls = model.embed_image, iter(range(100))

        def failing(x: torch.Tensor, forward: Any = forward, calls: Any = calls, call: int = call) -> torch.Tensor:
            if next(calls) == call:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(x)

        monkeypatch.setattr(model, "embed_image", failing)
        np.testing.assert_allclose(encode(model, batches(pixels, 8), 30), expected, atol=1e-6)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    *map(
        RuntimeError,
        [
            "MPS backend out of memory (MPS allocated: 18.02 GB, other allocations: 107.10 MB, max allowed: 18.13 GB).",
            "Invalid buffer size: 19.45 GB",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "GET was unable to find an engine to execute this computation",
            "CUDA ran out of memory outside PyTorch's allocator.",
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
        ],
    ),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_in_whatever_words_memory_runs_out_batches_are_halved(error: Exception) -> None:
    pixels = patches(30)
    expected = encode(Colour(), batches(pixels, 8), 30)
    found = encode(Colour(3, error), batches(pixels, 8), 30)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="not enough memory on this machine for even one patch; free some") as raised:
        encode(Colour(0, error), batches(patches(4), 2), 4)
    assert raised.value.setting == "device"


def test_another_error_of_torch_is_not_taken_for_want_of_memory() -> None:
    model = Colour(3, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        encode(model, batches(patches(30), 8), 30)
    assert model.sizes == [8]


def test_all_unreadable_patches_are_found_and_none_encoded_after() -> None:
    model = Colour()
    with pytest.raises(UserError, match=r"^3 of 40 patches of S .* spots spot 3, spot 17, spot 31; copy"):
        encode(model, batches(patches(40), 4, unreadable=(3, 17, 31)), 40)
    assert len(model.sizes) < 10


def test_embeddings_that_are_not_finite() -> None:
    class Broken(Colour):
        def embed_image(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().embed_image(pixels) * float("nan")

    with pytest.raises(UserError, match="not finite"):
        encode(Broken(), batches(patches(4), 2), 4)


@pytest.mark.parametrize("after", range(6))
def test_cancelling_ends_the_reading_at_once(after: int) -> None:
    closed = threading.Event()

    def source() -> Iterator[PatchBatch]:
        try:
            while True:
                yield from batches(patches(40), 4)
        finally:
            closed.set()

    job = encode_patches(Colour(), source(), spots(40))  # type: ignore[arg-type]
    for _ in range(after):
        next(job)
    job.close()  # what is not cancelled never ends
    assert closed.is_set() or after < 2  # never begun


def test_cancel_does_not_wait_for_a_batch() -> None:
    """A batch takes seconds on a CPU."""
    goes_on = threading.Event()

    class Slow(Colour):
        def embed_image(self, pixels: torch.Tensor) -> torch.Tensor:
            goes_on.wait(30)
            return super().embed_image(pixels)

    job = encode_patches(Slow(), batches(patches(8), 8), spots(8))  # type: ignore[arg-type]
    assert [next(job).done for _ in range(4)] == [0] * 4
    goes_on.set()
    assert [progress.done for progress in job][-1] == 8


def test_ctrl_c_while_encoding_ends_the_reading() -> None:
    closed = threading.Event()

    def source() -> Iterator[PatchBatch]:
        try:
            yield from batches(patches(40), 4)
        finally:
            closed.set()

    class Interrupted(Colour):
        def embed_image(self, pixels: torch.Tensor) -> torch.Tensor:
            raise KeyboardInterrupt(len(pixels))

    with pytest.raises(KeyboardInterrupt):
        encode(Interrupted(), source(), 40)
    assert closed.is_set()


def test_an_error_while_reading_reaches_the_user() -> None:
    def source() -> Iterator[PatchBatch]:
        yield from batches(patches(8), 4)
        raise UserError("slide.svs is gone")

    with pytest.raises(UserError, match=r"slide\.svs is gone"):
        encode(Colour(), source(), 40)


def test_prediction_is_the_method_step_by_step(section: Section, untrained_checkpoint: Checkpoint) -> None:
    prediction = finish(predict(section, untrained_checkpoint, PredictConfig(k=7, device="cpu", batch_size=5)))
    card, bank, model = untrained_checkpoint.card, untrained_checkpoint.bank, untrained_checkpoint.model
    pixels = np.empty((36, 32, 32, 3), np.uint8)
    for batch in read_patches(section.slide, section.xy, card.preprocessing.patch, section.mpp):
        pixels[batch.rows] = batch.pixels
    with torch.no_grad():
        embeddings = model.eval().embed_image(to_input(pixels)).double().numpy()
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosine = embeddings @ bank.embeddings.astype(np.float64).T
    expected = np.sort(-cosine, axis=1)[:, :7]
    np.testing.assert_allclose(prediction.similarity, -expected, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosine, prediction.neighbours, 1), -expected, atol=1e-5)
    mean = bank.expression.toarray()[prediction.neighbours, 5].mean(axis=1)
    np.testing.assert_allclose(prediction.gene("GENE5"), mean, rtol=1e-5)


def test_a_checkpoint_says_how_many_neighbours_and_how_they_weigh(
    section: Section, weighted_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    prediction = finish(predict(section, weighted_checkpoint, PredictConfig(device="cpu")))
    assert prediction.neighbours.shape == (36, 20)
    assert prediction.provenance.average == "weighted mean of the 20 most similar training spots"
    weights = np.exp(prediction.similarity.astype(np.float64) / 0.1)
    weights /= weights.sum(axis=1, keepdims=True)
    mean_similarity = (weights * prediction.similarity).sum(axis=1)
    np.testing.assert_allclose(prediction.confidence()["mean_similarity"], mean_similarity, rtol=1e-5)
    assert (mean_similarity > prediction.similarity.mean(axis=1) * (1 + 1e-4)).all()
    values = weighted_checkpoint.bank.expression.toarray()[prediction.neighbours, 5]
    np.testing.assert_allclose(prediction.gene("GENE5"), (weights * values).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        prediction.predicted_means, prediction.expression(prediction.genes).mean(axis=0), rtol=1e-5
    )
    some = prediction.expression(["GENE5", "GENE7"], slice(3, 9))
    np.testing.assert_array_equal(some, prediction.expression(["GENE5", "GENE7"])[3:9])
    prediction.save(tmp_path / "p.h5ad")
    again = Prediction.load(tmp_path / "p.h5ad")
    np.testing.assert_array_equal(again.gene("GENE7"), prediction.gene("GENE7"))
    fewer = finish(predict(section, weighted_checkpoint, PredictConfig(k=5, device="cpu")))
    assert fewer.neighbours.shape == (36, 5)
    assert fewer.weights is not None
    larger = Checkpoint(
        replace(weighted_checkpoint.card, query=Query(k=1000)), weighted_checkpoint.model, weighted_checkpoint.bank
    )
    every = finish(predict(section, larger, PredictConfig(device="cpu")))
    assert every.provenance.average == "mean of the 72 most similar training spots"  # all that there are


def test_symmetries_context_and_colours_are_what_they_say(section: Section, untrained_checkpoint: Checkpoint) -> None:
    card, bank, model = untrained_checkpoint.card, untrained_checkpoint.bank, untrained_checkpoint.model
    asked = replace(card, query=Query(test_time_augmentation=True, neighbourhood_smoothing=0.5))
    asked = replace(asked, preprocessing=replace(card.preprocessing, colour_normalisation=True))
    prediction = finish(predict(section, Checkpoint(asked, model, bank), PredictConfig(k=7, device="cpu")))
    pixels = np.empty((36, 32, 32, 3), np.uint8)
    for batch in read_patches(section.slide, section.xy, card.preprocessing.patch, section.mpp):
        pixels[batch.rows] = batch.pixels
    some = pixels[:, ::4, ::4].reshape(-1, 3) / 255
    inputs = (pixels / 255 - some.mean(axis=0)) / some.std(axis=0)
    sides = [np.rot90(side, turns, axes=(1, 2)) for side in (inputs, inputs[:, ::-1]) for turns in range(4)]
    with torch.no_grad():
        seen = [model.eval().embed_image(torch.tensor(side.transpose(0, 3, 1, 2).copy()).float()) for side in sides]
    own = torch.stack(seen).mean(dim=0).double().numpy()
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    row, column = np.divmod(np.arange(36), 6)
    apart = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column))
    around = np.array([own[apart[i] == 1].mean(axis=0) for i in range(36)])  # eight, fewer at the edge
    queries = own + 0.5 * around
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    expected = np.sort(-queries @ bank.embeddings.astype(np.float64).T, axis=1)[:, :7]
    np.testing.assert_allclose(prediction.similarity, -expected, atol=1e-4)


def test_what_the_encoder_reads_is_the_same_in_another_stain() -> None:
    pixels = patches(40, side=32)
    paler = (0.5 * pixels + 64).astype(np.uint8)
    one, other = (to_input(part, *patch_colours(part)) for part in (pixels, paler))
    assert (one - other).abs().max() < 0.03


def test_the_size_of_a_batch_does_not_matter(section: Section, untrained_checkpoint: Checkpoint) -> None:
    first = finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu", batch_size=36)))
    second = finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu", batch_size=7)))
    np.testing.assert_allclose(first.similarity, second.similarity, atol=1e-6)


def test_progress_is_reported_a_batch_with_its_speed(section: Section, untrained_checkpoint: Checkpoint) -> None:
    seen: list[Progress] = []
    finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu", batch_size=9)), seen.append)
    encoding = [progress for progress in seen if progress.step == "Encoding patches"]
    assert list(dict.fromkeys(progress.done for progress in encoding)) == [0, 9, 18, 27, 36]
    assert encoding[-1].values["patches/s"] > 0
    assert seen[-1].step == "Retrieving neighbours"


def test_the_public_call_returns_the_prediction_and_tells_its_progress(
    section: Section, untrained_checkpoint: Checkpoint
) -> None:
    import napari_cmrcnet

    config, seen = PredictConfig(k=5, device="cpu"), list[Progress]()
    found = napari_cmrcnet.predict(section, untrained_checkpoint, config, progress=seen.append)
    assert isinstance(found, Prediction)
    jobs_own = finish(predict(section, untrained_checkpoint, config))
    np.testing.assert_array_equal(found.neighbours, jobs_own.neighbours)
    assert seen[-1].step == "Retrieving neighbours"
    signature = inspect.signature(napari_cmrcnet.predict)
    assert signature.return_annotation is Prediction
    assert list(signature.parameters) == ["section", "checkpoint", "config", "checks", "progress"]


def test_the_public_calls_say_what_they_take(section: Section, untrained_checkpoint: Checkpoint) -> None:
    import napari_cmrcnet

    found = napari_cmrcnet.predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu"))
    with pytest.raises(UserError, match=r"predict\(\) takes Section as its section; you gave it Checkpoint\."):
        napari_cmrcnet.predict(untrained_checkpoint, section)
    with pytest.raises(UserError, match=r"takes PredictConfig as its config; you gave it str\."):
        napari_cmrcnet.predict(section, untrained_checkpoint, config="cpu")
    for given, said in ((found, "Prediction"), ("C.h5ad", "str"), (["C.h5ad"], "a list of str")):
        with pytest.raises(UserError, match=f"takes a list of Prediction as its predictions; you gave it {said}\\."):
            napari_cmrcnet.evaluate(given, "report")
    with pytest.raises(UserError, match=r"fit\(\) takes a list of Section as its sections; you gave it Section\."):
        napari_cmrcnet.fit(section, napari_cmrcnet.FitConfig(), "model.cmrcnet")


def test_sections_and_checkpoints_are_shown_in_a_line(section: Section, untrained_checkpoint: Checkpoint) -> None:
    assert repr(section) == f"<Section {section.name}: 36 spots, 24 genes measured>"
    whole = repr(untrained_checkpoint)
    assert whole == "<Checkpoint untrained.cmrcnet: 72 spots, 24 genes, trained on A, B>"
    assert untrained_checkpoint.path is not None
    opened = Checkpoint.open(untrained_checkpoint.path)
    assert repr(opened) == "<Checkpoint untrained.cmrcnet: trained on A, B>"
    assert opened.bank is not None
    assert repr(opened) == whole


def test_k_larger_than_the_bank_is_refused_before_any_work(section: Section, untrained_checkpoint: Checkpoint) -> None:
    with pytest.raises(UserError, match="k is 73, but the checkpoint's bank has 72 spots"):
        next(predict(section, untrained_checkpoint, PredictConfig(k=73)))


def test_no_gene_in_common_is_refused_before_any_work(section: Section, untrained_checkpoint: Checkpoint) -> None:
    spots = section.spots.copy()
    spots.var_names = [f"mouse{i}" for i in range(24)]
    with pytest.raises(UserError, match=r"C\.h5ad and the checkpoint have no gene in common \(mouse0"):
        next(predict(replace(section, spots=spots), untrained_checkpoint, PredictConfig(k=5)))


def test_a_slide_without_counts_is_predicted(section: Section, untrained_checkpoint: Checkpoint) -> None:
    from anndata import AnnData

    spots = AnnData(obs=section.spots.obs, obsm=dict(section.spots.obsm), uns=section.spots.uns)
    prediction = finish(predict(replace(section, spots=spots), untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    assert prediction.measured(["GENE1"]) is None
    assert prediction.measured_genes == ()
    assert len(prediction.gene("GENE1")) == 36


def test_unreadable_patches_are_named(
    section: Section, untrained_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any, **__: Any) -> Iterator[PatchBatch]:
        return batches(patches(36, 32), 9, unreadable=(4, 20))

    monkeypatch.setattr("napari_cmrcnet.retrieval.queries.read_patches", damaged)
    with pytest.raises(UserError, match=r"2 of 36 patches .*C-4, C-20"):
        finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu")))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"k": 0}, "k is 0; give at least 1 training spot"), ({"batch_size": 0}, "batch_size is 0; give at least 1")],
)
def test_impossible_settings_are_refused_where_they_are_given(wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        PredictConfig(**wrong)  # type: ignore[arg-type]


def test_what_it_was_made_from_is_recorded(section: Section, untrained_checkpoint: Checkpoint) -> None:
    made = finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu"))).provenance
    assert made.checkpoint == str(untrained_checkpoint.path)
    assert made.checkpoint_digest == untrained_checkpoint.digest
    assert (made.section, made.patient, made.k, made.mpp) == ("C", "P3", 5, 0.5)
    assert made.trained_on == ("A", "B")
    assert made.panel is not None
    assert made.panel.name == "two genes"
    assert "torch" in made.packages


def test_precision_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with autocast(CPU):
        assert not torch.is_autocast_enabled("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(UserError, match="no hardware for bf16"):
        autocast(CPU, "bf16")
    with pytest.raises(UserError, match="no precision 'fp8'"):
        autocast(CPU, "fp8")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    with autocast(CPU, "bf16"):
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


@pytest.mark.parametrize(("asked", "used"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "bf16")])
def test_a_prediction_records_device_and_precision(
    asked: str, used: str, section: Section, untrained_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    made_from = finish(
        predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu", precision=asked))
    ).provenance
    assert (made_from.device, made_from.precision) == ("cpu", used)


def test_bf16_without_hardware_is_refused_before_any_work(
    section: Section, untrained_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(UserError, match="no hardware for bf16, and emulating it takes 8 times as long as fp32"):
        next(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu", precision="bf16")))
