"""``python -m napari_cmrcnet`` is ``napari-cmrcnet``."""

import sys

from napari_cmrcnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
