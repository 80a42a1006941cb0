"""The folder of Path2Space's weights, told from a checkpoint without torch."""

from pathlib import Path

NAME = "Path2Space"
ENCODER, NETWORKS, GENES = "ctranspath.pth", "mlp_ensemble", "genes.txt"


def is_path2space(folder: Path) -> bool:
    """Say whether a folder holds the weights of Path2Space, as its archive unpacks."""
    return (folder / GENES).is_file() and (folder / NETWORKS).is_dir()
