"""Question 4: cold compile, warm load and launch of 25 kernels, parallel drivers against plain kernels called on chunks."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

COUNT = 25
HEADER = '''"""Generated."""
import numpy as np
from numba import njit, prange
FLAGS = {"fastmath": True, "error_model": "numpy", "cache": True}
'''
BODIES = (  # five shapes of loop, each with a different constant: elementwise, axis sum, stencil, window, row copy
    "for c in range(n):\n            y[i, c] = max(x[i, c] * f4({k}) + z[i, c], f4(0))",
    "s = f4(0)\n        for c in range(n):\n            s += x[i, c] * z[i, c]\n        for c in range(n):\n            y[i, c] = s * f4({k})",
    "for c in range(2, n - 2):\n            s = f4({k}) + x[i, c - 2] + x[i, c - 1] + x[i, c] + x[i, c + 1] + x[i, c + 2]\n"
    "            y[i, c] = x[i, c] / np.sqrt(s * np.sqrt(s))",
    "for c in range(n):\n            m = x[i, c]\n            for p in range(9):\n                v = z[(i + p) % x.shape[0], c]\n"
    "                m = v if v > m else m\n            y[i, c] = m * f4({k})",
    "for p in range(5):\n            a = x[i, p * (n // 5):(p + 1) * (n // 5)]\n            b = y[i, p * (n // 5):(p + 1) * (n // 5)]\n"
    "            for c in range(n // 5):\n                b[c] = a[c] + f4({k}) * z[i, c]",
)


def source(kind: str, index: int) -> str:
    body = BODIES[index % len(BODIES)].format(k=index + 1)
    body = body.replace("f4(", "np.float32(")
    if kind == "parallel":
        head = '@njit("void(f4[:,::1],f4[:,::1],f4[:,::1])", parallel=True, **FLAGS)\ndef kernel(x, z, y):\n    n = x.shape[1]\n'
        return HEADER + head + f"    for i in prange(x.shape[0]):\n        {body}\n"
    head = '@njit("void(f4[:,::1],f4[:,::1],f4[:,::1],i8,i8)", nogil=True, **FLAGS)\ndef kernel(x, z, y, first, last):\n    n = x.shape[1]\n'
    return HEADER + head + f"    for i in range(first, last):\n        {body}\n"


def child(folder: str) -> None:
    """Import numba, then every kernel of the folder; print the seconds of each."""
    start = perf_counter()
    import numba  # noqa: F401

    imported = perf_counter() - start
    sys.path.insert(0, folder)
    times = []
    for path in sorted(Path(folder).glob("kernel_*.py")):
        start = perf_counter()
        __import__(path.stem)
        times.append(perf_counter() - start)
    print(json.dumps({"import": imported, "kernels": times}))


def one_module(folder: str, kind: str) -> None:
    """The same kernels in one file: is the index per file what a load costs?"""
    text = source(kind, 0)
    text += "".join(source(kind, i).removeprefix(HEADER).replace("def kernel(", f"def kernel{i}(") for i in range(1, COUNT))
    Path(folder, "kernel_all.py").write_text(text)


def start_up() -> None:
    from benchmarks.measure.timing import table

    rows = []
    for kind in ("parallel", "nogil"):
        for layout in ("file each", "one file"):
            with tempfile.TemporaryDirectory() as folder:
                if layout == "one file":
                    one_module(folder, kind)
                else:
                    for index in range(COUNT):
                        Path(folder, f"kernel_{index:02}.py").write_text(source(kind, index))
                runs = []
                for _ in range(6):
                    out = subprocess.run([sys.executable, __file__, "child", folder], capture_output=True, text=True, check=True)
                    runs.append(json.loads(out.stdout))
                cold, warm = runs[0], runs[1:]
                loads = [median(run["kernels"][i] for run in warm) for i in range(len(cold["kernels"]))]
                rows.append([kind, layout, sum(cold["kernels"]), 1e3 * sum(cold["kernels"]) / COUNT, cold["kernels"][0],
                             1e3 * sum(loads), 1e3 * sum(loads) / COUNT, 1e3 * loads[0], 1e3 * median(run["import"] for run in warm)])
    table([f"{COUNT} kernels", "layout", "cold, s", "cold each, ms", "cold first, s", "warm, ms", "warm each, ms", "warm first, ms", "import numba, ms"], rows)


def launches() -> None:
    import numpy as np
    from numba import njit, prange

    from benchmarks.measure.setup import FLAGS, normal
    from benchmarks.measure.timing import compare, table

    args = "f4[:,::1],f4[:,::1],f4[:,::1]"

    @njit(f"void({args})", parallel=True, **FLAGS)
    def parallel(x, z, y):
        for i in prange(x.shape[0]):
            for c in range(x.shape[1]):
                y[i, c] = x[i, c] * z[i, c]

    @njit(f"void({args},i8,i8)", nogil=True, **FLAGS)
    def part(x, z, y, first, last):
        for i in range(first, last):
            for c in range(x.shape[1]):
                y[i, c] = x[i, c] * z[i, c]

    @njit(f"void({args},i8)", parallel=True, **FLAGS)
    def driver(x, z, y, chunks):
        rows = x.shape[0]
        for chunk in prange(chunks):
            part(x, z, y, chunk * rows // chunks, (chunk + 1) * rows // chunks)

    pool = ThreadPoolExecutor(2)

    def submit(x, z, y):
        half = x.shape[0] // 2
        futures = [pool.submit(part, x, z, y, 0, half), pool.submit(part, x, z, y, half, x.shape[0])]
        for future in futures:
            future.result()

    def submit_one(x, z, y):
        half = x.shape[0] // 2
        future = pool.submit(part, x, z, y, 0, half)
        part(x, z, y, half, x.shape[0])
        future.result()

    def threads(x, z, y):
        half = x.shape[0] // 2
        other = threading.Thread(target=part, args=(x, z, y, 0, half))
        other.start()
        part(x, z, y, half, x.shape[0])
        other.join()

    rows = []
    for shape in ((8, 16), (64, 1024), (512, 4096)):
        x, z = normal(*shape), normal(*shape)
        y = np.empty_like(x)
        times = compare({
            "plain call, 1 thread": lambda: part(x, z, y, 0, x.shape[0]), "parallel=True": lambda: parallel(x, z, y),
            "parallel driver of a plain kernel": lambda: driver(x, z, y, 8),
            "ThreadPoolExecutor, both": lambda: submit(x, z, y), "ThreadPoolExecutor, one": lambda: submit_one(x, z, y),
            "new thread": lambda: threads(x, z, y)}, 1.0)
        rows.append([f"{shape[0]}x{shape[1]}", *(1e6 * t for t in times.values())])
    table([f"us per call, {os.environ['NUMBA_THREADING_LAYER']}", *times], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2])
    elif sys.argv[1:2] == ["launches"]:
        launches()
    else:
        start_up()
        for layer in ("omp", "workqueue"):
            subprocess.run([sys.executable, "-m", "benchmarks.measure.compile_cost", "launches"],
                           env={**os.environ, "NUMBA_THREADING_LAYER": layer}, check=True)
