"""What the process needs beside a live OpenGL canvas: how heavy packages are imported, and garbage collected."""

import ctypes
import gc
import importlib.util
import os
import sys
import time
from pathlib import Path


def import_torch() -> None:
    """Import torch and timm in a job and let the window live meanwhile; call `guard_triton` first.

    Two things would hold Python's lock, for a second together and up to half of one at a time: loading torch's
    libraries, and the garbage collector, which would go through all that is imported: a job runs without it, see
    `collect_garbage`.
    """
    if "torch" in sys.modules and "timm" in sys.modules:
        return
    _load_libraries()
    try:
        import timm  # noqa: F401
        import torch  # noqa: F401
    finally:
        gc.freeze()  # and back: what was imported is old now, and is not gone through at the next object
        gc.unfreeze()


def _load_libraries() -> None:
    """Load torch's libraries, in the order in which torch does; a call through ctypes lets other threads run."""
    torch = importlib.util.find_spec("torch")
    if sys.platform != "linux" or torch is None or torch.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for name, scope in (("libtorch_global_deps.so", os.RTLD_GLOBAL), ("libtorch_python.so", os.RTLD_LOCAL)):
        dlopen(os.fsencode(Path(torch.origin).parent / "lib" / name), os.RTLD_NOW | scope)  # torch says what is missing


def guard_triton() -> None:
    """Import triton so that it cannot clash with the LLVM of Mesa's OpenGL driver.

    torch and timm import triton, whose library binds to the older libLLVM that a Mesa canvas has loaded, and the
    process crashes (tensorflow/tensorflow#124205 and mcfletch/pyopengl#170 are of the same family). Loaded with
    RTLD_DEEPBIND it binds to its own symbols. Only Linux has Mesa, and only a process with a canvas is concerned.
    """
    if sys.platform != "linux" or "triton" in sys.modules or not _has_libllvm():
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        import triton  # noqa: F401
    except ImportError:  # torch for the CPU comes without it
        return
    finally:
        sys.setdlopenflags(before)


def _has_libllvm() -> bool:
    try:
        with open("/proc/self/maps") as maps:
            return any("libLLVM" in line for line in maps)
    except OSError:
        return False


FULL_EVERY = 10.0  # seconds: going through all objects takes a fifth of one


def collect_garbage(last_full: float) -> float:
    """Collect what is due, as Python would have by itself; return when all objects were gone through last.

    Python collects garbage in whichever thread makes one object too many. A closed window of napari is garbage of that
    kind: a ring of objects, with Qt's among them. Destroyed in another thread than their own, they leave an OpenGL
    context that Qt still takes for the current one, and the next widget that goes ends the process. So Python does not
    collect by itself while a job runs, and the window's thread calls this meanwhile.
    """
    for generation in (2, 1, 0):
        due = gc.get_count()[generation] > gc.get_threshold()[generation]
        if due and (generation < 2 or time.monotonic() - last_full > FULL_EVERY):
            gc.collect(generation)
            return time.monotonic() if generation == 2 else last_full
    return last_full
