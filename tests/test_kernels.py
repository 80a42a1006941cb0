"""The same neighbours, whichever kernel of a matrix library the processor chooses, and in however many threads.

OpenBLAS, which NumPy's wheels bring, has kernels for each generation of processors, and takes another on request. They
add up in different orders, so that their products differ in the last bits.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

# With what torch's libraries are told to make of the processor.
KERNELS = {
    "Nehalem": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "Haswell": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "SkylakeX": {},
}
SEARCH = """
import hashlib, json
import numpy as np, torch
from threadpoolctl import threadpool_info, threadpool_limits
from napari_cmrcnet.retrieval.search import nearest

def digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

rng = np.random.default_rng(0)
base = rng.normal(size=(1500, 100)).astype(np.float32)
near = base + rng.normal(size=base.shape).astype(np.float32) * np.float32(1e-6)
bank = np.concatenate([base, 3 * base, near])  # ties, and what a product in float32 cannot tell apart
queries = np.concatenate([base[:40], rng.normal(size=(60, 100)).astype(np.float32)])
found = []
for threads in (1, 2):
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        found += [digest(*nearest(queries, bank, 20, device=device)) for device in ("cpu", "cpu:0")]
blas = next(library for library in threadpool_info() if library["internal_api"] == "openblas")
print(json.dumps([blas["architecture"], digest(queries @ bank.T), found]))
"""  # "cpu:0" is searched by torch


def test_neighbours_are_the_same_under_each_kernel() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    if not any(library["internal_api"] == "openblas" for library in threadpool_info()):
        pytest.skip("NumPy's matrix library: it is no OpenBLAS, which takes its kernel on request")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SEARCH],
            env=os.environ | {"OPENBLAS_CORETYPE": kernel, "OMP_NUM_THREADS": "2"} | others,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kernel, others in KERNELS.items()
    ]
    said = [json.loads(child.communicate()[0]) for child in children]
    kernels, products, found = zip(*said, strict=True)
    if len(set(kernels)) < 2:
        pytest.skip(f"kernels of OpenBLAS: this processor runs {kernels[0]} alone")
    assert len(set(products)) > 1, "the kernels give one product, so that nothing is compared"
    assert len({digest for of_kernel in found for digest in of_kernel}) == 1, said
