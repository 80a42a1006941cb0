"""Where the synthetic sample is that comes with the software."""

from pathlib import Path


def sample_folder() -> Path:
    """Return the folder of the synthetic sample: in the installed package, or beside a checkout's ``src``."""
    package = Path(__file__).parents[1]
    installed = package / "sample_data"
    return installed if installed.is_dir() else package.parents[1] / "sample_data"
