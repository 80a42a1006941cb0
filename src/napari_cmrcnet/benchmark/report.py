"""The report of a benchmark: its tables, its figures, and what a reader must know of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.benchmark import best_genes, paper
from napari_cmrcnet.benchmark.bootstrap import RESAMPLES
from napari_cmrcnet.benchmark.collected import Collected
from napari_cmrcnet.benchmark.draw import draw
from napari_cmrcnet.benchmark.folds import N_VARIABLE, Fold
from napari_cmrcnet.benchmark.method_list import ABLATION
from napari_cmrcnet.benchmark.method_names import CMRCNET
from napari_cmrcnet.benchmark.results import UnitResult
from napari_cmrcnet.benchmark.section_notes import Said
from napari_cmrcnet.benchmark.table_text import markdown
from napari_cmrcnet.benchmark.tables import Table, compared, make_tables
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.common.text import count_text, markdown_table, markdown_text
from napari_cmrcnet.evaluation.set_scores import AMONG
from napari_cmrcnet.sections.score_filter import MIN_SPOTS

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset
    from napari_cmrcnet.benchmark.plan import Plan

DIGITS = "%.6f"  # of numbers in tables


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a benchmark found and wrote.

    Parameters
    ----------
    out : Path
        The folder.
    tables : tuple of Table
        1, 2 and, where there are results for them, 4 and 5.
    warnings : tuple of str
        What makes the figures better, or less real, than they look.
    files : tuple of Path
        All that the report is made of; ``report.md`` last.
    """

    out: Path
    tables: tuple[Table, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...]


def write_report(
    dataset: "Dataset",
    plan: "Plan",
    sections: Said,
    folds: Sequence[Fold],
    results: Sequence[UnitResult],
    failed: Mapping[str, UserError],
    out: Path,
) -> Job[Outcome]:
    """Write tables, figures and ``report.md`` of all methods whose results are complete.

    Parameters
    ----------
    dataset, plan, folds
        What was asked for.
    sections : Said
        What is to be said of the sections.
    results : sequence of UnitResult
        What was done.
    failed : mapping of str to UserError
        What could not be done, and why.
    out : Path
        The benchmark's folder.
    """
    yield Progress("Writing the report", 0, 0)
    found = Collected(plan.choices, folds, results)
    files: list[Path] = []
    tables: list[Table] = []
    written: dict[str, str] = {}
    if found.labels:
        tables = make_tables(dataset, found, sets=plan.sets, nan_as_zero=plan.nan_as_zero)
        for table in tables:
            files.append(write_frame(out / "tables" / f"{table.name}.csv", table.lines, DIGITS))
            written[table.name] = markdown(table)
        labels = compared(found)
        genes = best_genes.gene_table(dataset, found, labels)
        if len(genes):
            files.append(write_frame(out / "tables" / "table3.csv", genes, DIGITS))
            over = f"mean PCC over {len(found.sections)} sections"
            written["table3"] = best_genes.markdown(genes, f"Table 3. Genes predicted best, {over}, {dataset.name}")
        files += [write_content(out / "tables" / f"{name}.md", text) for name, text in written.items()]
        if plan.figures and labels:
            files += yield from draw(dataset, found, labels, plan.sets, out / "figures")
    leaks = (said for fold in folds for said in fold.leaks)
    warnings = tuple(dict.fromkeys((*leaks, *sections.warnings, *_versions(results))))
    parts = [f"# Benchmark of {markdown_text(dataset.name)}", _setting(dataset, plan, sections, found)]
    if warnings or dataset.notes:
        parts += ["## Read this first", _bullets([*warnings, *dataset.notes])]
    if failed:
        said = [f"{name}: {reason}" for name, reason in failed.items()]
        parts += ["## Not done", "The tables leave out methods with a missing run.", _bullets(said)]
    parts += ["## Tables", _explained(dataset, plan), *(written[name] for name in sorted(written))]
    if pictures := [path for path in files if path.suffix == ".png"]:
        parts += ["## Figures", _figures(pictures)]
    parts += ["## Methods", _methods(found), "## Sections", _bullets(sections.each)]
    files.append(write_content(out / "report.md", "\n\n".join(parts) + "\n"))
    return Outcome(out, tuple(tables), warnings, tuple(files))


def _versions(results: Sequence[UnitResult]) -> list[str]:
    """Say which packages were of several versions, as where a benchmark went on after an upgrade."""
    there: dict[str, set[str]] = {}
    for one in results:
        for name, version in one.about.get("packages", {}).items():
            there.setdefault(name, set()).add(version)
    several = [f"{name} {' and '.join(sorted(found))}" for name, found in there.items() if len(found) > 1]
    if not several:
        return []
    return [f"The runs were made with several versions of {', '.join(several)}. Differences may come from that."]


def _setting(dataset: "Dataset", plan: "Plan", sections: Said, found: Collected) -> str:
    kind = "a section" if plan.folds == "sample" else "a patient"
    number = count_text(plan.epochs or 0, "epoch")
    epochs = f"{number}, for all that have epochs" if plan.epochs else "each method's published epochs"
    said = [
        f"Folds: {kind} left out in turn, {count_text(len(found.folds), 'fold')} of {len(dataset.rows)} sections.",
        f"Seeds: {len(found.seeds)}. Budget: {epochs}.",
        f"Patches: {plan.patch.patch_px} px at {plan.patch.model_mpp} µm/px, the same for all. CMRCNet: preset "
        f"{plan.preset}, variant {plan.variant}.",
    ]
    said += [
        f"Fold {fold.name}: trained on {', '.join(fold.training)}; tested on {', '.join(fold.test)}; "
        f"{len(fold.genes):,} genes, chosen on the training sections, of which {len(fold.variable):,} are the union of "
        f"each one's {N_VARIABLE:,} most variable."
        for fold in found.folds
    ]
    if dataset.paper_size:
        spots, genes = dataset.paper_size
        numbers = sorted(len(fold.variable) for fold in found.folds)
        said.append(
            f"The paper has {spots:,} spots and {genes:,} genes of {dataset.name}; here are {sections.spots:,} spots "
            f"and, by fold, {numbers[0]:,} to {numbers[-1]:,} variable genes, chosen without the test section."
        )
    return _bullets(said)


def _figures(pictures: Sequence[Path]) -> str:
    """Link every picture; the box plot is shown."""
    said = (
        "Each is beside its SVG. Figure 2: PCC of the genes of each set, one dot per gene, means over seeds. The "
        "others are of seed 0. Figure 3: mean and variance of every gene, predicted over measured. Figure 4: gene-gene "
        "correlation, in the order of the measured clustering. "
        "Maps, the paper's figures 5 to 7: measured beside each method, on its colour scale."
    )
    links = [f"- [{path.stem}](figures/{path.name})" for path in pictures]
    shown = [f"![{path.stem}](figures/{path.name})" for path in pictures if path.stem == "figure2"]
    return "\n\n".join([said, *shown, "\n".join(links)])


def _explained(dataset: "Dataset", plan: "Plan") -> str:
    undefined = "counted as 0" if plan.nan_as_zero else "left out of the mean and counted in the CSV files"
    least = "a spot with fewer than 100 counts (10 in panels under 1,000 genes)"
    if plan.score_min_umi is not None:
        least = f"a spot with fewer than {plan.score_min_umi} counts"
    said = (
        "Mean PCC over the genes of a set, then over seeds and test sections. HEG and HVG are the genes of the "
        f"highest mean and variance in the test section, {AMONG[plan.sets]}. Left out of scores: {least}, and a "
        f"gene found at fewer than {MIN_SPOTS} of the other spots. An undefined PCC (a constant gene) is "
        f"{undefined}.\n\nIn brackets: the 95 % interval of {RESAMPLES:,} resamples of folds and genes. It covers "
        "the choice of these genes and sections, and is rough for few sections. It does not cover new patients, "
        "other spots of the same sections, or another training. Δ is the difference to CMRCNet over the genes that "
        "both have, in the same resamples, below 0 where CMRCNet is better. 'sections' is the range of the "
        "sections' own means. 'given depth' is the partial correlation given a spot's log total and its square: "
        "what is left of a score when the effect of sequencing depth is removed from both sides."
    )
    if dataset.paper:
        others = " Its HEG and HVG are other genes: their values are left out." if plan.sets == "all" else ""
        folds = "" if plan.folds == "sample" else " The folds here are others: by patient."
        return f"{said} Beside it is the paper's value ({paper.source()}).{others}{folds}"
    return f"{said} The paper has no values for these sections."


def _methods(found: Collected) -> str:
    rows: list[list[str]] = []
    notes: list[str] = []
    ablation = {row.name: f"CMRCNet: {row.title}" for row in ABLATION if row.name != CMRCNET}
    for method, runs in found.runs.items():
        title = ablation.get(method, runs[0].title)
        whole = [run.about for run in runs if not run.about["resumed"]] or [run.about for run in runs]
        wall, cpu = (sum(about[name] for about in whole) / len(whole) for name in ("wall_s", "cpu_s"))
        machines = "; ".join(sorted({str(run.about["machine"]) for run in runs}))
        rows.append([markdown_text(title), str(len(runs)), _duration(wall), _duration(cpu), markdown_text(machines)])
        if resumed := sum(run.about["resumed"] for run in runs):
            notes.append(f"{title}: {resumed} of {len(runs)} trainings were stopped and resumed.")
        for note in dict.fromkeys(note for run in runs for note in run.about["notes"]):
            notes.append(note if note.startswith(title) else f"{title}: {note}")
    table = markdown_table(["method", "runs", "wall time per run", "CPU time per run", "machine"], rows)
    return f"{table}\n{_bullets(notes)}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)
