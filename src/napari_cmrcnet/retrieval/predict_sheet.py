"""Many slides: each is predicted by itself and its file stands when it is done; what stands is not made again."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from napari_cmrcnet.common.errors import Setting, UserError
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.parallel import own_device, spread
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction_file import read_provenance
from napari_cmrcnet.retrieval.preflight import preflight_job
from napari_cmrcnet.sections.pixel_size import GIVEN
from napari_cmrcnet.sections.sheet import SheetRow

STEP = "Predicting slides"


@dataclass(frozen=True)
class Task:
    """One slide to predict, as it is sent to another process or machine."""

    row: SheetRow
    checkpoint: Path
    digest: str
    out: Path
    config: PredictConfig  # of the k and panel that the checkpoint gives where none was asked for
    min_umi: int

    @property
    def name(self) -> str:
        """The section's name."""
        return self.row.section

    @property
    def path(self) -> Path:
        """The file to write."""
        return self.out / f"{self.row.section}.h5ad"

    def run(self) -> Job[None]:
        """Predict the slide and write its file."""
        checkpoint = _checkpoint_of_this_process(self.checkpoint, self.digest)
        section = self.row.open(min_umi=self.min_umi, normalised=True)
        with closing(section.slide):
            yield Progress("Checking that section and checkpoint fit", 0, 0)
            checks = yield from preflight_job(section, checkpoint, self.config.k)
            config = replace(self.config, device=own_device(self.config.device))
            prediction = yield from predict(section, checkpoint, config, checks=checks)
        prediction.save(self.path)


def predict_sheet(
    rows: Sequence[SheetRow],
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: PredictConfig | None = None,
    *,
    min_umi: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
) -> Job[list[Path]]:
    """Predict the slides of a sheet.

    A slide whose file stands already is skipped. A file that was made from other input or with other settings is never
    overwritten and never taken for a result: it is refused before any work.

    Parameters
    ----------
    rows : sequence of SheetRow
        The slides.
    checkpoint : path
        The trained model.
    out : path
        Folder for the results, ``SECTION.h5ad``.
    config : PredictConfig, optional
        How to predict; its defaults if not given.
    min_umi : int
        Spots with fewer counts are dropped.
    workers : int
        Processes of this machine, among which its cores are divided.
    scheduler : str, optional
        Address of a dask.distributed scheduler, to run on its workers instead. They must see the same paths.

    Returns
    -------
    list of Path
        The files, in the order of the rows.

    Raises
    ------
    UserError
        Before any work, or at the end with the reason for each slide that could not be predicted. The files of the
        others stand.
    """
    folder, out, config = Path(checkpoint).resolve(), Path(out).resolve(), config or PredictConfig()
    opened = Checkpoint.open(folder)
    opened.verify()
    if config.panel is not None:
        opened.bank.names.check_panel(config.panel, "The checkpoint")
    config = replace(config, k=opened.neighbours(config.k), panel=config.panel or opened.card.panel)
    tasks = [Task(row, folder, opened.digest, out, config, min_umi) for row in rows]
    with only_one(out):
        waiting = [task for task in tasks if not _stands(task)]
        yield Progress(STEP, len(tasks) - len(waiting), len(tasks), "slides")
        try:
            failed = yield from spread(
                waiting, step=STEP, kind="slides", total=len(tasks), workers=workers, scheduler=scheduler
            )
        finally:
            _checkpoint_of_this_process.cache_clear()
        if failed:
            reasons = "; ".join(f"{section}: {str(reason).rstrip('.')}" for section, reason in failed.items())
            setting: Setting = next((reason.setting for reason in failed.values() if reason.setting), "")
            many = count_text(len(failed), "slide", len(tasks))
            raise UserError(f"{many} could not be predicted: {reasons}.", setting)
        return [task.path for task in tasks]


def _stands(task: Task) -> bool:
    """Whether the file of a slide is there; refuses one that was made otherwise."""
    if not task.path.exists():
        return False
    made = read_provenance(task.path)
    row, config, spots = task.row, task.config, task.row.spots or task.row.slide
    now_and_then = {
        "checkpoint": (task.digest, made.checkpoint_digest),
        "k": (config.k, made.k),
        "slide": (str(row.slide.resolve()), made.slide),
        "spots": (str(spots.resolve()), made.spots),
        "library": (row.library, made.library),
        "pool": (row.pool, made.pool),
        "min-umi": (task.min_umi if row.spots else 0, made.min_umi),  # a grid has no counts
        "precision": (made.precision if config.precision == "auto" else config.precision, made.precision),
        "panel": (config.panel, made.panel),
        "patient": (row.patient or made.patient, made.patient),  # the spots may name one
        "mpp": (row.mpp, made.mpp if made.mpp_source == GIVEN else None),
    }
    if other := [name for name, (now, then) in now_and_then.items() if now != then]:
        raise UserError(f"{task.path} was made with another {' and '.join(other)}; remove it or choose another --out.")
    return True


@lru_cache(maxsize=1)
def _checkpoint_of_this_process(path: Path, digest: str) -> Checkpoint:
    checkpoint = Checkpoint.load(path)
    if checkpoint.digest != digest:
        raise UserError(f"{path} was replaced meanwhile; start again.")
    return checkpoint
