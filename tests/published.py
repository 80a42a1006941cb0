"""Public data in small, in the layouts in which they are published: file names, columns, archives, git's list."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from scipy import sparse

from web_site import Site

GENES = [f"GENE{i}" for i in range(24)]
SIDE, PITCH = 4, 290  # spots a row, pixels between them, as in her2st's pictures
LICENCE = "CC BY 4.0"


def _section(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture, counts (n, genes), and positions (x, y), with what colour and expression have in common."""
    rng = np.random.default_rng(seed)
    n = SIDE * SIDE
    latent = rng.random(n)
    image = np.full((SIDE * PITCH, SIDE * PITCH, 3), 240, np.uint8)
    rows, columns = np.divmod(np.arange(n), SIDE)
    for row, column, z in zip(rows, columns, latent, strict=True):
        colour = np.array([200 - 80 * z, 60 + 120 * z, 180]) + rng.normal(0, 12, (PITCH, PITCH, 3))
        image[row * PITCH : (row + 1) * PITCH, column * PITCH : (column + 1) * PITCH] = colour.clip(0, 255)
    share = np.stack([1 + 9 * latent if i % 2 else 10 - 9 * latent for i in range(len(GENES))], axis=1)
    counts = rng.poisson(4 * share)
    return image, counts, np.stack([(columns + 0.5) * PITCH, (rows + 0.5) * PITCH], axis=1)


def publish_her2st(site: Site, sections: dict[str, str]) -> dict[str, Any]:
    """Publish sections as github.com/almaan/her2st does; return the entry of a recipe for them."""
    files: dict[str, bytes] = {"README.md": b"# her2st", "data/go-sets/go.tsv": b"x"}
    for seed, (name, patient) in enumerate(sections.items()):
        image, counts, xy = _section(seed)
        picture = io.BytesIO()
        Image.fromarray(image).save(picture, "JPEG", dpi=(72, 72))  # as the real ones, falsely
        files[f"data/ST-imgs/{patient}/{name}/57_HE BT_{name}.jpg"] = picture.getvalue()
        rows, columns = np.divmod(np.arange(len(xy)), SIDE)
        names = [f"{column + 10}x{row + 20}" for row, column in zip(rows, columns, strict=True)]
        lines = ["\t".join(["", *GENES])]
        lines += ["\t".join([spot, *map(str, values)]) for spot, values in zip(names, counts, strict=True)]
        files[f"data/ST-cnts/{name}.tsv.gz"] = gzip.compress(("\n".join(lines) + "\n").encode())
        lines = ["x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"]
        for row, column, (x, y) in zip(rows, columns, xy, strict=True):
            lines.append(f"{column + 10}\t{row + 20}\t{column + 10}.02\t{row + 20}.01\t{x}\t{y}\t1")
        files[f"data/ST-spotfiles/{name}_selection.tsv"] = ("\n".join(lines) + "\n").encode()
    tree: list[dict[str, Any]] = [{"path": "data", "mode": "040000", "type": "tree", "sha": "0" * 40}]
    for path, content in files.items():
        about = {"mode": "100644", "type": "blob", "sha": git_sum(content), "size": len(content), "url": "…"}
        tree.append({"path": path, **about})
        site.files[f"/almaan/her2st/master/{path.replace(' ', '%20')}"] = content
    listed = {"sha": "1" * 40, "url": "…", "tree": tree, "truncated": False}
    site.files["/repos/almaan/her2st/git/trees/master?recursive=1"] = json.dumps(listed).encode()
    return {
        "title": "her2st in small", "tissue": "breast cancer", "layout": "her2st", "source": "nobody", "page": "https://x",
        "licence": LICENCE, "access": "open", "checksums": "git's", "platform": "ST", "panel": "", "notes": [],
        "patients": sections,
        "list": f"{site.address}/repos/almaan/her2st/git/trees/master?recursive=1",
        "files": f"{site.address}/almaan/her2st/master/",
    }  # fmt: skip


def git_sum(content: bytes) -> str:
    """Return the SHA-1 that git has of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def publish_visium(site: Site, name: str, folder: Path, checksums: bool = True) -> dict[str, Any]:
    """Publish a section as 10x Genomics does; return the entry of a recipe for it."""
    image, counts, xy = _section(7)
    picture = io.BytesIO()
    Image.fromarray(image).save(picture, "TIFF")
    files = {"image.tif": picture.getvalue(), "filtered_feature_bc_matrix.h5": _matrix(folder / "m.h5", counts)}
    rows, columns = np.divmod(np.arange(len(xy)), SIDE)
    lines = [
        f"BARCODE{i:02d}-1,1,{row},{2 * column + row % 2},{y:.0f},{x:.0f}"
        for i, (row, column, (x, y)) in enumerate(zip(rows, columns, xy, strict=True))
    ]
    factors = json.dumps({"tissue_hires_scalef": 0.2, "tissue_lowres_scalef": 0.05, "spot_diameter_fullres": 150.0})
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        parts = {"tissue_positions_list.csv": "\n".join(lines) + "\n", "scalefactors_json.json": factors}
        for part, text in parts.items():
            member = tarfile.TarInfo(f"spatial/{part}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    files["spatial.tar.gz"] = content.getvalue()
    sums = {}
    for file, data in files.items():
        _, checksum = site.publish(f"samples/spatial-exp/1.1.0/{name}/{name}_{file}", data)
        sums[file] = checksum if checksums else ""
    place = f"{site.address}/samples/spatial-exp/1.1.0/{name}/{name}_"
    return {
        "title": "Visium in small", "tissue": "node", "layout": "10x", "source": "10x Genomics", "page": "https://x",
        "licence": LICENCE, "access": "open", "checksums": "SHA-256", "platform": "Visium", "panel": "", "notes": [],
        "patients": {name: f"of {name}"}, "files": {name: {"places": [place], "sha256": sums}},
    }  # fmt: skip


def _matrix(path: Path, counts: np.ndarray) -> bytes:
    matrix = sparse.csr_matrix(counts)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array([f"BARCODE{i:02d}-1" for i in range(len(counts))], "S")
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
        group["shape"] = np.array(matrix.shape[::-1], np.int32)
        features = group.create_group("features")
        for key, values in {
            "id": [f"ENSG{i:011d}" for i in range(len(GENES))], "name": GENES,
            "feature_type": ["Gene Expression"] * len(GENES), "genome": ["GRCh38"] * len(GENES),
        }.items():  # fmt: skip
            features[key] = np.array(values, "S")
    return path.read_bytes()
