"""Sections of HEST, which asks its users to accept its terms."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from napari_cmrcnet.catalogue.hest_folder import hest_files, hest_rows
from napari_cmrcnet.common.errors import UserError, first_sentence
from napari_cmrcnet.common.files import sha256
from napari_cmrcnet.common.locks import only_one
from napari_cmrcnet.common.progress import Job, Progress, in_thread, of_bytes
from napari_cmrcnet.common.public_files import check_room
from napari_cmrcnet.sections.sheet import write_sheet

REPOSITORY = "MahmoodLab/hest"
PAGE = "https://huggingface.co/datasets/MahmoodLab/hest"
TOKENS = "https://huggingface.co/settings/tokens"


def download_hest(title: str, patients: Mapping[str, str], out: Path) -> Job[Path]:
    """Download slides, counts, metadata and patches of sections, in HEST's own layout.

    What is complete is not downloaded again; a file that was cut short goes on where it was.

    Parameters
    ----------
    title : str
        What messages call the sections.
    patients : mapping of str to str
        By HEST's id of a section, the patient that it is from; ``""``: what HEST says.
    out : Path
        The folder.

    Returns
    -------
    Path
        A sheet of the sections, for commands that take one.

    Raises
    ------
    UserError
        If HEST's terms were not accepted or no token is there (with both steps), the site cannot be reached, a file
        is not there, or the disk is too small, or a file is not the published one.
    """
    from huggingface_hub import HfApi

    wanted = [path for name in patients for path in hest_files(name)]
    try:
        infos = yield from in_thread(
            lambda: HfApi().get_paths_info(REPOSITORY, wanted, repo_type="dataset"),
            Progress(f"Asking for {title}", 0, 0),
        )
    except Exception as error:  # of the HTTP library that this version of huggingface_hub uses
        raise _refused(title, error) from error
    sizes = {str(info.path): int(getattr(info, "size", 0) or 0) for info in infos}
    large = {str(info.path): getattr(info, "lfs", None) for info in infos}
    published = {path: str(lfs.sha256) for path, lfs in large.items() if lfs is not None}
    optional = {path for path in wanted if path.startswith("patches/")}
    if missing := [path for path in wanted if path not in sizes and path not in optional]:
        raise UserError(f"HEST no longer has {missing[0]}; look on {PAGE} for its new name.")
    check_room(title, sum(size for path, size in sizes.items() if _size(out / path) != size), out)
    total, before = sum(sizes.values()), 0
    with only_one(out):
        for path, size in sizes.items():
            there = _size(out / path) == size
            yield from _fetch(title, path, out, before, total)
            if not there and path in published:
                yield from _check(out / path, published[path])
            before += size
        return write_sheet(hest_rows(out, patients), out / "sections.csv")


def _check(path: Path, published: str) -> Job[None]:
    """Throw away a file that is not the published one."""
    if (yield from in_thread(lambda: sha256(path), Progress(f"Checking {path.name}", 0, 0))) != published:
        path.unlink(missing_ok=True)
        raise UserError(
            f"{path.name} is not the file that HEST published (its checksum differs), and was deleted; try again."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


class _StoppedError(Exception):
    """The download is not wanted any more."""


def _fetch(title: str, path: str, out: Path, before: int, total: int) -> Job[None]:
    """Download one file, and say how far it is."""
    from huggingface_hub import hf_hub_download

    counter = _counter()
    fetch = partial(hf_hub_download, REPOSITORY, path, repo_type="dataset", local_dir=out, tqdm_class=counter)
    try:
        for _ in in_thread(fetch, None):
            yield of_bytes(f"Downloading {title}", before + counter.received, total)
    except Exception as error:
        raise _refused(title, error) from error
    finally:
        counter.stopped.set()


def _counter() -> Any:
    """Return a progress bar that draws nothing, but counts what was received and can end the download."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Counter(tqdm):  # type: ignore[misc]
        received, stopped = 0, Event()

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            if self.stopped.is_set():
                raise _StoppedError
            Counter.received += int(n or 0)

    return Counter


def _refused(title: str, error: Exception) -> UserError:
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or status in (401, 403):
        return UserError(
            f"HEST, which {title} is from, is open only to those who accepted its terms. Two steps, once: "
            f"(1) log in at {PAGE} and accept the terms there; (2) make a token of the kind 'read' at {TOKENS}, run "
            "'hf auth login' and paste it. Then give this command again."
        )
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return UserError(f"{PAGE} lacks a file of {title} ({error}); look there for its new name.")
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return UserError(f"{error.filename} could not be written ({error.strerror or error}).")
    return UserError(
        f"{title} could not be downloaded from huggingface.co ({first_sentence(error).rstrip('.')}); check the "
        "connection to the network, then try again: what is complete is kept."
    )
