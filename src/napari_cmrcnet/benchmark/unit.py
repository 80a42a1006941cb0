"""One fold, method and seed: the unit of a benchmark that is done, kept and gone on from."""

import os
import platform
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.benchmark.folds import Fold
from napari_cmrcnet.benchmark.method_list import EXTERNAL, Choice
from napari_cmrcnet.benchmark.methods.method import Fitted, Task
from napari_cmrcnet.benchmark.plan import Plan
from napari_cmrcnet.benchmark.results import Output, UnitResult, load_result, save_result, score_section
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.parallel import own_device
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.common.text import count_text, plain
from napari_cmrcnet.common.versions import package_versions

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section


@dataclass(frozen=True)
class Unit:
    """What a worker is sent.

    Parameters
    ----------
    dataset : Dataset
        The sections.
    plan : Plan
        How methods are compared.
    fold : Fold
        Which are trained on, and the genes.
    choice : Choice
        The method.
    seed : int
        Of all that is random.
    out : Path
        The benchmark's folder.
    """

    dataset: Dataset
    plan: Plan
    fold: Fold
    choice: Choice
    seed: int
    out: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.fold.name}, {self.choice.name}, seed {self.seed}"

    @property
    def path(self) -> Path:
        """The result."""
        return self.out / "results" / self.fold.name / f"{self.choice.name}_seed{self.seed}.h5"

    @property
    def work(self) -> Path:
        """Where a training lives that can be gone on with."""
        return self.out / "trainings" / self.fold.name / f"seed{self.seed}" / self.choice.name

    def run(self) -> Job[None]:
        """Fit, predict, score, and write the result."""
        plan, resumed = self.plan, self.work.exists()
        wall, cpu = time.perf_counter(), time.process_time()
        device = own_device(plan.device)
        with ExitStack() as slides:
            training = tuple(self._open(name, slides) for name in self.fold.training)
            task = Task(
                training, self.fold.genes, plan.patch, self.seed, plan.epochs, device, self.choice.weights, self.work
            )
            method = self.choice.make()
            fitted = yield from method.fit(task)
            sections = {}
            for name in self.fold.test:
                sections[name] = yield from self._score(fitted, self._open(name, slides))
        about = {
            "settings": {
                "epochs": plan.epochs,
                "device": device,
                "weights": self.choice.digest,
                **plain(self.choice.settings),
            },
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "resumed": resumed,
            "machine": _machine(device),
            "packages": package_versions(),
            "notes": fitted.notes,
        }
        result = UnitResult(self.fold.name, self.choice.name, method.title, self.seed, sections, about)
        save_result(self.path, result)
        shutil.rmtree(self.work, ignore_errors=True)

    def check(self) -> None:
        """Refuse a result that stands and was made with other weights; all else is on record for the whole benchmark.

        What a stop left of its training is removed.

        Raises
        ------
        UserError
            With the file.
        """
        about = load_result(self.path, with_drawn=False).about
        made, now = about["settings"].get("weights"), self.choice.digest
        if made != now:
            what = "tables of another tool" if self.choice.method == EXTERNAL else "weights of the encoder"
            raise UserError(
                f"{self.path} was made {'with other' if made else 'without'} {what}; give the same again, or choose "
                "another folder."
            )
        shutil.rmtree(self.work, ignore_errors=True)

    def _open(self, name: str, slides: ExitStack) -> "Section":
        section = self.dataset.open(name)
        slides.enter_context(section.slide)
        return section

    def _score(self, fitted: Fitted, section: "Section") -> Job[dict[str, Output]]:
        predicted = yield from fitted.predict(section)
        columns = [column for column, gene in enumerate(self.fold.genes) if gene in section.spots.var_names]
        genes = [self.fold.genes[column] for column in columns]
        outputs = predicted if isinstance(predicted, dict) else {"": predicted}
        scored = {name: np.asarray(values)[:, columns] for name, values in outputs.items()}
        return score_section(
            section,
            genes,
            scored,
            variable=self.fold.variable,
            shown=self.dataset.shown,
            min_umi=self.plan.score_min_umi,
        )


def _machine(device: str) -> str:
    """Return processor, cores and, where it computes, the GPU, in a few words."""
    from napari_cmrcnet.common.device import choose_device

    chosen = choose_device(device)
    cores = os.cpu_count() or 1
    said = f"{_processor()}, {count_text(cores, 'core')}, {platform.system()}"
    if chosen.type == "cuda":
        import torch

        return f"{torch.cuda.get_device_name(chosen)}; {said}"
    return f"{chosen.type.upper()}; {said}" if chosen.type != "cpu" else said


def _processor() -> str:
    """Return the processor's name; Linux has it in a file that Python does not read."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"
