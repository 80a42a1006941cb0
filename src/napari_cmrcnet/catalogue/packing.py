"""A checkpoint as one file: an archive without compression, so that it holds no more than it has bytes.

Nothing in it is believed: only the files that a checkpoint has are taken, each under its own name and without a path,
and their hashes are those of the card before the model appears.
"""

import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from napari_cmrcnet.common.errors import UserError, cannot_read, first_sentence
from napari_cmrcnet.common.files import atomic_file, atomic_folder, check_output, sha256
from napari_cmrcnet.common.progress import Job, Progress, of_bytes
from napari_cmrcnet.common.text import size_text
from napari_cmrcnet.retrieval.card import BANK, CARD, ENCODER, MODEL, THUMBNAILS
from napari_cmrcnet.retrieval.checkpoint import Checkpoint

ENDING = ".cmrcnet.zip"
BLOCK = 2**22


def pack(checkpoint: Path, out: Path, thumbnails: bool = True) -> Job[str]:
    """Write a checkpoint as one file.

    Parameters
    ----------
    checkpoint : Path
        ``NAME.cmrcnet``; what is in it is compared with its hashes first.
    out : Path
        The file.
    thumbnails : bool
        Whether the small pictures of the training patches, which are patients' tissue, go with it.

    Returns
    -------
    str
        The SHA-256 of the file.

    Raises
    ------
    UserError
        If the folder is no checkpoint, was changed, or the file cannot be written.
    """
    check_output(out)
    if out.exists():
        raise UserError(f"{out} exists; remove it or choose another name for --out.")
    yield from _check(checkpoint)
    others = [ENCODER, *([THUMBNAILS] if thumbnails else [])]
    names = [CARD, MODEL, BANK, *(name for name in others if (checkpoint / name).is_file())]
    total = sum((checkpoint / name).stat().st_size for name in names)
    done = 0
    with atomic_file(out) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                # A fixed time, so that the same checkpoint gives the same file
                about = zipfile.ZipInfo(name)
                about.external_attr = 0o644 << 16
                with open(checkpoint / name, "rb") as source, archive.open(about, "w", force_zip64=True) as target:
                    while block := source.read(BLOCK):
                        target.write(block)
                        done += len(block)
                        yield of_bytes("Packing", done, total)
        yield Progress("Taking the checksum", 0, 0)
        checksum = sha256(temporary)
    return checksum


def unpack_model(file: Path, out: Path) -> Job[Path]:
    """Write the checkpoint of a file that `pack` wrote, whole and verified, or not at all.

    Parameters
    ----------
    file : Path
        The file.
    out : Path
        The folder, ``NAME.cmrcnet``.

    Raises
    ------
    UserError
        If the file is no packed checkpoint, is damaged, or holds what does not belong there; if ``out`` exists, or the
        disk is full.
    """
    if out.exists():
        raise UserError(f"{out.name} is there already; remove it ({out}), or give another --name.")
    try:
        with open(file, "rb") as stream, _open(file, stream) as archive:
            members = _members(file, archive, os.fstat(stream.fileno()).st_size)
            total, done = sum(member.file_size for member in members), 0
            out.parent.mkdir(parents=True, exist_ok=True)
            if total > (free := shutil.disk_usage(out.parent).free):
                raise UserError(f"{file} holds {size_text(total)}, but {out.parent} has room for {size_text(free)}.")
            with atomic_folder(out) as folder:
                for member in members:
                    with archive.open(member) as source, open(folder / member.filename, "wb") as target:
                        while block := source.read(BLOCK):
                            target.write(block)
                            done += len(block)
                            yield of_bytes("Unpacking", done, total)
                try:
                    yield from _check(folder)
                except UserError as error:
                    reason = str(error).replace(f"{folder}/", "")  # it has not had its own name yet
                    raise UserError(f"{file} holds no usable model: {reason}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError(f"{file} is damaged ({first_sentence(error)}); copy or download it again.") from error
    return out


def _open(file: Path, stream: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        otherwise = f"{file} is not a packed model, or only part of one; give the .cmrcnet.zip that models pack wrote."
        raise cannot_read(file, error, otherwise) from error


def _members(file: Path, archive: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """Return what an archive holds, if it is what `pack` writes and nothing else."""
    members = archive.infolist()
    names = [member.filename for member in members]
    known = (CARD, MODEL, BANK, ENCODER, THUMBNAILS)
    if odd := [name for name in names if name not in known]:
        raise UserError(f"{file} is not a packed model: {odd[0][:80]!a} does not belong in one; do not use it.")
    if len(set(names)) != len(names) or {CARD, MODEL, BANK} - set(names):
        raise UserError(
            f"{file} is not a complete packed model (it holds {', '.join(names) or 'nothing'}); get it again."
        )
    stored = all(one.compress_type == zipfile.ZIP_STORED and one.compress_size == one.file_size for one in members)
    if not stored or sum(member.file_size for member in members) > size:
        raise UserError(f"{file} was not packed by this software (its content is compressed); ask for it again.")
    return members


def _check(path: Path) -> Job[None]:
    """Compare every file of a checkpoint that is there with its hash."""
    yield Progress("Checking the model", 0, 0)
    checkpoint = Checkpoint.open(path)
    for name in checkpoint.card.files:
        yield Progress(f"Checking {name}", 0, 0)
        if (path / name).is_file():
            checkpoint.verify([name])
