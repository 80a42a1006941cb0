"""What the process needs before heavy packages are imported beside a live OpenGL canvas."""

import ctypes
import gc
import importlib.util
import os
import sys
from pathlib import Path


def import_torch() -> None:
    """Import torch and timm in a job and let the window live meanwhile; call `guard_triton` first.

    Two things would hold Python's lock, for a second together and up to half of one at a time: loading torch's
    libraries, and the garbage collector, which would go through all that is imported (off in a job, see `garbage`).
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
