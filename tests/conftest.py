"""Fixtures that several parts of the tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sections, named by ``CMRCNET_REAL_DATA``."""
    folder = os.environ.get("CMRCNET_REAL_DATA")
    if not folder:
        pytest.skip("CMRCNET_REAL_DATA is not set: needs the real sections")
    return Path(folder)
