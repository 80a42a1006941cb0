"""Change a slide while a prediction reads it: one sentence that names it, or the right result; never anything else.

usage: python -m benchmarks.faults.changed [N] [--seed S]

A slide of each kind is cut short, overwritten in its place, replaced or removed, N times in all (200 if not given): in
half of the runs at a step of the job, in the others at a random moment. A run must refuse it in a sentence and write
nothing, or write what is right for the slide before or after the change. Ends with status 1 where that is not so.
Linux only.
"""

import argparse
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import tifffile

from benchmarks.faults.bases import _instance, make_checkpoint, picture
from benchmarks.faults.forked import Running, fork, interposed, renew, warm_up
from napari_cmrcnet.common.progress import Job

Change = Callable[[Path, Path, random.Random], None]


def _tiff(path: Path, image: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as writer:
        for index, level in enumerate((image, image[::2, ::2])):
            writer.write(level, tile=(64, 64), compression="jpeg", photometric="rgb", subfiletype=int(index > 0))


def _plain(path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(path, image, photometric="rgb")


def _dicom(path: Path, image: np.ndarray) -> None:
    path.mkdir()
    for level in range(2):
        (path / f"{level}.dcm").write_bytes(_instance(image[:: 2**level, :: 2**level], level))


def _jpeg(path: Path, image: np.ndarray) -> None:
    path.write_bytes(imagecodecs.jpeg_encode(image, level=90))


def _png(path: Path, image: np.ndarray) -> None:
    path.write_bytes(imagecodecs.png_encode(image))


def _zarr(path: Path, image: np.ndarray) -> None:
    import zarr

    group = zarr.open_group(path, mode="w")
    for level in range(2):
        group.create_array(str(level), data=np.ascontiguousarray(image[:: 2**level, :: 2**level]), chunks=(64, 64, 3))
    about = {"axes": [{"name": name} for name in "yxc"], "datasets": [{"path": "0"}, {"path": "1"}]}
    group.attrs.update({"ome": {"multiscales": [about]}})


KINDS = {
    "tiled TIFF": _tiff, "plain TIFF": _plain, "DICOM (OpenSlide)": _dicom, "OME-Zarr": _zarr, "JPEG": _jpeg,
    "PNG": _png,
}  # fmt: skip


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _cut_short(slide: Path, _: Path, rng: random.Random) -> None:
    file = rng.choice(_files(slide))
    os.truncate(file, int(file.stat().st_size * rng.random()))


def _overwrite(slide: Path, other: Path, _: random.Random) -> None:
    for file in _files(slide):
        with open(file, "r+b") as stream:
            stream.write((other / file.relative_to(slide)).read_bytes())
            stream.truncate()


def _replace(slide: Path, other: Path, _: random.Random) -> None:
    copy = slide.with_name("copy")
    if slide.is_dir():
        shutil.copytree(other, copy)
        slide.rename(slide.with_name("gone"))
    else:
        shutil.copy(other, copy)
    copy.rename(slide)


def _remove(slide: Path, _: Path, rng: random.Random) -> None:
    rng.choice(_files(slide)).unlink()


CHANGES: dict[str, Change] = {
    "cut short": _cut_short, "overwritten": _overwrite, "replaced": _replace, "removed": _remove,
}  # fmt: skip


def main() -> None:
    """Run it, in a process whose copies are cheap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=200)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    interposed("benchmarks.faults.changed", lambda folder: _main(options.number, options.seed, folder))


def _main(number: int, seed: str, folder: Path) -> None:
    warm_up()
    sound, place, tally, bad = folder / "sound", folder / "place", Counter[tuple[str, str, str]](), 0
    sound.mkdir()
    make_checkpoint(sound)
    for name, write in KINDS.items():
        for slide, image in (("slide", picture()), ("other", picture(seed=9))):
            write(sound / f"{name} {slide}", image)
    for name in KINDS:
        rng = random.Random(f"{seed} {name}")
        slide, other = place / f"{name} slide", sound / f"{name} other"
        right, steps, seconds = [], 0, 0.0
        for shown in (slide, other):
            renew(place, sound)
            ended = fork(partial(_predict, shown, -1, None), place)
            assert ended.code == 0, ended.said
            right.append(_result(place))
            steps, seconds = int(ended.said.split()[-1]), ended.seconds
        for turn in range(-(-number // len(KINDS))):
            how = list(CHANGES)[turn // 2 % len(CHANGES)]
            renew(place, sound)
            change = partial(CHANGES[how], slide, other, rng)
            if turn % 2:
                ended = fork(partial(_predict, slide, rng.randrange(steps), change), place)
            else:
                running = Running(partial(_predict, slide, -1, None), place)
                running.computed(rng.random() * seconds)
                change()
                ended = running.ended()
            outcome = _outcome(ended.code, ended.problem, ended.said, slide, _result(place), right)
            tally[name, how, outcome] += 1
            if outcome not in ("refused", "right"):
                bad += 1
                print(f"  {name}: {how}: {outcome}: {ended.said[-400:]}", flush=True)
    print("", *_table(tally), sep="\n")
    if bad:
        raise SystemExit(f"{bad} runs ended otherwise than in a sentence or the right result")


def _outcome(
    code: int, problem: str, said: str, slide: Path, result: np.ndarray | None, right: list[np.ndarray | None]
) -> str:
    if problem:
        return problem
    if code == 0:
        return "right" if any(np.array_equal(result, one) for one in right) else "another result"
    if result is not None:
        return "refused, and written"
    return "refused" if slide.name in said else "refused without its name"


def _predict(slide: Path, at: int, change: Callable[[], None] | None, folder: Path) -> int:
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.sections.section import open_section

    section = open_section(slide, folder / "a.h5ad", name="A", mpp=1.0)
    with section.slide:
        config = PredictConfig(k=3, device="cpu", batch_size=4)
        job = predict(section, Checkpoint.load(folder / "m.cmrcnet"), config)
        steps, prediction = _steps(job, at, change)
    prediction.save(folder / "q.h5ad")
    print(steps)
    return 0


def _steps(job: Job, at: int, change: Callable[[], None] | None) -> tuple:
    step = 0
    while True:
        try:
            next(job)
        except StopIteration as end:
            return step, end.value
        if step == at and change is not None:
            change()
        step += 1


def _result(folder: Path) -> np.ndarray | None:
    """Return neighbours and similarities of the prediction; None if there is none."""
    if not (folder / "q.h5ad").exists():
        return None
    with h5py.File(folder / "q.h5ad", "r") as file:
        return np.concatenate([file["obsm/neighbours"][()].ravel(), file["obsm/similarity"][()].ravel()])


def _table(tally: Counter[tuple[str, str, str]]) -> list[str]:
    lines = [f"| slide | {' | '.join(CHANGES)} |", f"|---|{'---:|' * len(CHANGES)}"]
    for name in KINDS:
        cells = []
        for how in CHANGES:
            found = {outcome: count for (kind, one, outcome), count in tally.items() if (kind, one) == (name, how)}
            cells.append(", ".join(f"{count} {outcome}" for outcome, count in sorted(found.items())))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
