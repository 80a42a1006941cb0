"""Fixtures that several parts of the tests share."""

import errno
import gc
import os
import re
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch

    from by_hand import ByHand
    from dialogs import SaveDialog
    from forked import Forked
    from napari_cmrcnet.evaluation.figures import Ground
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.section import Section
    from one_prediction import Known
    from web_site import Site

# What several tests import lies beside them, where pytest's mode of importing does not look.
sys.path.append(str(Path(__file__).parent))

TESTS = count()
PARSED_ONCE = SimpleNamespace(sub=cache(re.sub), finditer=re.finditer, M=re.M)
ASKED_QT = os.environ.get("QT_API")
# qtpy and pytest-qt choose differently where both are installed.
os.environ.setdefault("QT_API", "pyside6")
os.environ.setdefault("PYTEST_QT_API", os.environ["QT_API"])
os.environ["MPLBACKEND"] = "agg"  # pyplot, which other packages draw with, would look for a screen


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where a Qt is asked for, leave out what is run with the other: what takes long and is about napari, not Qt."""
    if ASKED_QT is None:
        return
    others = [item for item in items if any(set(mark.args) - {ASKED_QT} for mark in item.iter_markers("qt"))]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> None:
    """Keep what was imported out of each search for garbage: napari makes one whenever a layer is removed."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests cache and build out of the user's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMRCNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CMRCNET_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(autouse=True)
def own_config(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let panels remember nothing of other tests."""
    monkeypatch.setenv("CMRCNET_CONFIG", str(tmp_path_factory.getbasetemp() / f"config{next(TESTS)}"))


@pytest.fixture(scope="session", autouse=True)
def triton_before_a_canvas() -> None:
    """Import triton before a test opens a canvas: tests use the core beside a window, without the workers' guard."""
    with suppress(ImportError):
        import triton  # noqa: F401


@pytest.fixture(autouse=True)
def nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the question for what is not saved: no test but those about it waits for somebody."""
    if dialogs := sys.modules.get("napari_cmrcnet.widgets.dialogs"):
        monkeypatch.setattr(dialogs, "ask_to_save", lambda *_: "discard")


@pytest.fixture
def qtbot(qtbot: Any) -> Any:
    """As pytest-qt's, but it waits for a minute, not five seconds: the machine may be busy."""
    qtbot.waitUntil = partial(qtbot.waitUntil, timeout=60_000)
    return qtbot


@pytest.fixture
def napari_window(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A napari window that is shown; no job of it goes on into the next test."""
    from napari._vispy import canvas
    from npe2 import PluginManager

    from napari_cmrcnet.widgets.job_run import _RUNNING, _cancel_all

    # napari looks for plugins once a process, and a test may have put another plugin manager in place then.
    if not any(PluginManager.instance().iter_manifests()):
        PluginManager.instance().discover()
    # Its settings, which each window changes a dozen times, are those of no user.
    monkeypatch.setattr("napari.settings._base.EventedConfigFileSettings._maybe_save", lambda _: None)
    # It searches all of memory whenever a layer is removed, for the sake of some drivers: a tenth of all time.
    monkeypatch.setattr(canvas, "gc", SimpleNamespace(collect=lambda: gc.collect(1)))
    # vispy takes the comments out of the same few shaders for every layer: a fifth of all time.
    monkeypatch.setattr("vispy.gloo.program.re", PARSED_ONCE)
    yield make_napari_viewer_proxy(show=True)
    _cancel_all()
    qtbot.waitUntil(lambda: not _RUNNING, timeout=60_000)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the canvas of a window blank: drawing takes a third of the time, and is not what such a test is about."""
    monkeypatch.setattr("napari._vispy.canvas.NapariSceneCanvas.draw_visual", lambda *_, **__: None)


@pytest.fixture
def hand(
    napari_window: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, untrained_checkpoint: "Checkpoint"
) -> "Iterator[ByHand]":
    """The hands of someone at a window who has chosen a model before."""
    from by_hand import ByHand
    from napari_cmrcnet.viewer.registry import session_of
    from napari_cmrcnet.widgets import dialogs
    from napari_cmrcnet.widgets.choosers import KEPT
    from napari_cmrcnet.widgets.remember import remember
    from test_menus import with_menus

    assert untrained_checkpoint.path is not None
    model = shutil.copytree(untrained_checkpoint.path, tmp_path / "M.cmrcnet")
    remember({f"{KEPT}checkpoint": str(model)})
    # It is only asked of a drawn section and a model of real ones, or the other way round.
    monkeypatch.setattr(dialogs, "ask", lambda *_: True)
    viewer = with_menus(napari_window)
    viewer.window.resize(1280, 800)
    hand = ByHand(viewer, monkeypatch)
    yield hand
    session = session_of(viewer)
    hand.wait(lambda: not session.scoring)
    slide = session.slide
    session.look_at(None)
    if slide is not None:
        slide.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sections, named by ``CMRCNET_REAL_DATA``."""
    folder = os.environ.get("CMRCNET_REAL_DATA")
    if not folder:
        pytest.skip("CMRCNET_REAL_DATA is not set: needs the real sections")
    return Path(folder)


WriteSection = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="session")
def write_section() -> WriteSection:
    """Write a section whose patches' colour follows from its genes: the slide and the spots' paths."""

    def write(folder: Path, name: str, seed: int = 0, side: int = 6) -> tuple[Path, Path]:
        import anndata
        import tifffile
        from scipy import sparse

        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        pitch, n = 32, side * side
        latent = rng.random(n)  # what colour and expression have in common
        image = np.full((side * pitch, side * pitch, 3), 240, np.uint8)
        rows, columns = np.divmod(np.arange(n), side)
        for row, column, z in zip(rows, columns, latent, strict=True):
            colour = np.array([200 - 80 * z, 60 + 120 * z, 180]) + rng.normal(0, 12, (pitch, pitch, 3))
            image[row * pitch : (row + 1) * pitch, column * pitch : (column + 1) * pitch] = colour.clip(0, 255)
        share = np.stack([1 + 9 * latent if i % 2 else 10 - 9 * latent for i in range(24)], axis=1)
        spots = anndata.AnnData(sparse.csr_matrix(rng.poisson(4 * share).astype(np.float32)))
        spots.var_names = [f"GENE{i}" for i in range(24)]
        spots.obs_names = [f"{name}-{i}" for i in range(n)]
        spots.obsm["spatial"] = np.stack([(columns + 0.5) * pitch, (rows + 0.5) * pitch], axis=1)
        tifffile.imwrite(folder / f"{name}.tif", image, tile=(64, 64), photometric="rgb")
        spots.write_h5ad(folder / f"{name}.h5ad")
        return folder / f"{name}.tif", folder / f"{name}.h5ad"

    return write


@pytest.fixture(scope="session")
def open_small() -> "Iterator[Callable[..., Section]]":
    """Open a section that `write_section` has written; its slide is closed at the end."""
    from napari_cmrcnet.sections.section import open_section

    opened: list[Section] = []

    def open_it(slide: Path, spots: Path, **settings: Any) -> "Section":
        opened.append(open_section(slide, spots, mpp=settings.pop("mpp", 0.5), **settings))
        return opened[-1]

    yield open_it
    for section in opened:
        section.slide.close()


@pytest.fixture(scope="session")
def untrained_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, write_section: WriteSection, open_small: "Callable[..., Section]"
) -> "Checkpoint":
    """A saved checkpoint with random weights, and a bank of two small sections A and B (36 spots each)."""
    import torch

    from napari_cmrcnet.model.cmrcnet import CMRCNet
    from napari_cmrcnet.model.config import preset
    from napari_cmrcnet.retrieval.build_bank import build_bank
    from napari_cmrcnet.retrieval.card import Card
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.protocol import Preprocessing
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.slides.patches import PatchSpec

    folder = tmp_path_factory.mktemp("untrained")
    sections = [
        open_small(*write_section(folder, name, seed), name=name, patient=f"P{seed}")
        for seed, name in enumerate("AB", start=1)
    ]
    genes = tuple(f"GENE{i}" for i in range(0, 24, 2))
    torch.manual_seed(0)
    config = preset("tiny", len(genes), image_size=32, patch_size=16, embedding_dim=32)
    model = CMRCNet(config).eval()
    card = Card(
        model=config,
        genes=genes,
        sections=("A", "B"),
        patients=("P1", "P2"),
        seed=0,
        epochs=0,
        preprocessing=Preprocessing(patch=PatchSpec(32, 0.5)),
        panel=Panel("two genes", ("GENE3", "GENE4")),
        variable_genes=genes[:10],
    )
    return Checkpoint(card, model, build_bank(model, sections, genes)).save(folder / "untrained.cmrcnet")


@pytest.fixture(scope="module")
def predicted(
    untrained_checkpoint: "Checkpoint",
    tmp_path_factory: pytest.TempPathFactory,
    write_section: WriteSection,
    open_small: "Callable[..., Section]",
) -> "Prediction":
    """What the untrained checkpoint predicts of a small section C of patient P3, k = 6."""
    from napari_cmrcnet.common.progress import finish
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig

    section = open_small(*write_section(tmp_path_factory.mktemp("predicted"), "C", 3), name="C", patient="P3")
    return finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))


@pytest.fixture
def expecting_checkpoint(untrained_checkpoint: "Checkpoint", tmp_path: Path) -> "Checkpoint":
    """The same, which expects of each gene a PCC that falls from 0.9 to 0, and of GENE5 none."""
    import numpy as np

    from napari_cmrcnet.retrieval.checkpoint import Checkpoint

    pcc = np.linspace(0.9, 0, len(untrained_checkpoint.bank.genes), dtype=np.float32)
    pcc[untrained_checkpoint.bank.genes.index("GENE5")] = np.nan
    bank = replace(untrained_checkpoint.bank, expected=np.column_stack([pcc, pcc / 2]))
    card = replace(untrained_checkpoint.card, expected_over="patients")
    return Checkpoint(card, untrained_checkpoint.model, bank).save(tmp_path / "expecting.cmrcnet")


@pytest.fixture
def cluster() -> "Iterator[str]":
    """A dask scheduler and a worker in this process."""
    distributed = pytest.importorskip("distributed")
    # Any free port: with no address given, dask takes 8787, which the cluster of another test may have.
    with distributed.LocalCluster(
        1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", memory_limit=None
    ) as local:
        yield local.scheduler_address


@pytest.fixture
def weighted_checkpoint(untrained_checkpoint: "Checkpoint", tmp_path: Path) -> "Checkpoint":
    """The same, but its values are weighted means of 20 neighbours."""
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.protocol import Query

    card = untrained_checkpoint.card
    model = replace(card.model, contrast="clip", temperature=0.1)
    weighted = replace(card, model=model, query=Query(k=20, weighted=True))
    changed = Checkpoint(weighted, untrained_checkpoint.model, untrained_checkpoint.bank)
    return changed.save(tmp_path / "weighted.cmrcnet")


@pytest.fixture
def save_dialog(monkeypatch: pytest.MonkeyPatch) -> "SaveDialog":
    """Answer the dialogs by which a file is saved."""
    from qtpy.QtWidgets import QFileDialog, QMessageBox

    from dialogs import SaveDialog

    dialog = SaveDialog()

    def name(_parent: Any, _title: str, proposed: str, _kinds: str) -> tuple[str, str]:
        dialog.proposed.append(Path(proposed))
        return "" if dialog.answer is None else str(dialog.answer), ""

    def question(_parent: Any, _title: str, text: str) -> Any:
        dialog.questions.append(text)
        return QMessageBox.StandardButton.Yes if dialog.replace else QMessageBox.StandardButton.No

    monkeypatch.setattr(QFileDialog, "getSaveFileName", name)
    monkeypatch.setattr(QMessageBox, "question", question)
    return dialog


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> "Callable[[Path], None]":
    """Let a path be in a folder that may not be looked into; permissions do not stop the superuser."""
    look, forbidden = os.stat, set()

    def stat(path: Any, *args: Any, **settings: Any) -> os.stat_result:
        if isinstance(path, str | os.PathLike) and os.fspath(path) in forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return look(path, *args, **settings)

    monkeypatch.setattr(os, "stat", stat)
    return lambda path: forbidden.add(os.fspath(path))


@pytest.fixture
def full_disk() -> "Callable[[int], AbstractContextManager[None]]":
    """Make every write beyond so many bytes of a file fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX")

    @contextmanager
    def limit(n_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def known(
    untrained_checkpoint: "Checkpoint",
    tmp_path_factory: pytest.TempPathFactory,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> "dict[str, Known]":
    """Sections C, of patient P3, and D, smaller and without measurements."""
    from anndata import AnnData

    from napari_cmrcnet.common.progress import finish
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from one_prediction import Known

    folder = tmp_path_factory.mktemp("sections")
    full = open_small(*write_section(folder, "C", 3), name="C", patient="P3")
    small = open_small(*write_section(folder, "D", 4, side=5), name="D")
    spots = small.spots
    bare = replace(small, spots=AnnData(obs=spots.obs, obsm=dict(spots.obsm), uns=spots.uns))
    return {
        section.name: Known(section, finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu"))))
        for section in (full, bare)
    }


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a report have none: drawing takes most of the time, and is not what such a test is about."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def none(*_: object) -> Generator[None, None, list[Path]]:
        yield from ()
        return []

    def without_pixels(figure: Figure, content: Any, *, format: str, **settings: Any) -> None:
        if format not in ("png", "jpeg"):
            save(figure, content, format=format, **settings)

    monkeypatch.setattr(Figure, "savefig", without_pixels)
    monkeypatch.setattr("napari_cmrcnet.evaluation.report.draw_section", none)
    monkeypatch.setattr("napari_cmrcnet.evaluation.report.draw_sets", none)


@pytest.fixture
def quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a frozen encoder see colours alone: encoding takes most of the time, and is not what such a test is about."""
    from napari_cmrcnet.model.pretrained import FrozenNetwork

    def colours(network: FrozenNetwork, pixels: "torch.Tensor") -> "torch.Tensor":
        found = pixels.float().flatten(2).unflatten(2, (16, -1)).mean(dim=3).flatten(1)  # of 16 stripes
        return found.repeat(1, network.encoder.width // found.shape[1] + 1)[:, : network.encoder.width]

    monkeypatch.setattr(FrozenNetwork, "embed_image", colours)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be in the cache."""
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the user have no model yet: the folder for them."""
    monkeypatch.setenv("CMRCNET_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def site() -> "Iterator[Site]":
    """A server on this machine."""
    from web_site import Site

    server = Site()
    yield server
    server.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What napari was asked to tell the user."""
    from napari.utils.notifications import notification_manager

    messages: list[str] = []
    monkeypatch.setattr(notification_manager, "dispatch", lambda said: messages.append(said.message))
    return messages


@pytest.fixture(scope="session")
def forked() -> "Iterator[Forked]":
    """What starts jobs in processes of their own, which need not import again what a training imports."""
    from forked import python

    with python() as forked:
        yield forked


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Keep threads from waiting for each other over small models."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def ground() -> "Ground":
    """Spots, and a grey picture of the slide below them."""
    from napari_cmrcnet.evaluation.figures import Ground

    x, y = np.meshgrid(np.arange(200.0, 1800, 200), np.arange(300.0, 1300, 200))
    image = np.full((150, 200, 3), 230, np.uint8)
    return Ground(np.stack([x.ravel(), y.ravel()], axis=1), 110.0, 0.5, image, 10.0)
