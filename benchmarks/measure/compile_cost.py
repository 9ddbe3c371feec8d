"""Question 4: cold compile, warm load and launch of 25 kernels, parallel ones against plain ones on chunks."""

# ruff: noqa: B023  (the calls are timed before the loop variables change)

import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from textwrap import indent
from time import perf_counter

COUNT = 25
HEADER = '''"""Generated."""
import numpy as np
from numba import njit, prange
FLAGS = {"fastmath": True, "error_model": "numpy", "cache": True}
A = "f4[:,::1],f4[:,::1],f4[:,::1]"
'''
BODIES = (  # five shapes of loop, each with a constant K: elementwise, row sum, stencil, window, runs
    """for c in range(n):
    y[i, c] = max(x[i, c] * K + z[i, c], np.float32(0))""",
    """s = np.float32(0)
for c in range(n):
    s += x[i, c] * z[i, c]
for c in range(n):
    y[i, c] = s * K""",
    """for c in range(2, n - 2):
    s = K + x[i, c - 2] + x[i, c - 1] + x[i, c] + x[i, c + 1] + x[i, c + 2]
    y[i, c] = x[i, c] / np.sqrt(s * np.sqrt(s))""",
    """for c in range(n):
    m = x[i, c]
    for p in range(9):
        v = z[(i + p) % x.shape[0], c]
        m = v if v > m else m
    y[i, c] = m * K""",
    """run = n // 5
for p in range(5):
    a, b = x[i, p * run : (p + 1) * run], y[i, p * run : (p + 1) * run]
    for c in range(run):
        b[c] = a[c] + K * z[i, c]""",
)


def source(kind: str, index: int) -> str:
    body = indent(BODIES[index % len(BODIES)].replace("K", f"np.float32({index + 1})"), " " * 8)
    if kind == "parallel":
        head = "@njit(f'void({A})', parallel=True, **FLAGS)\ndef kernel(x, z, y):\n"
        loop = "    for i in prange(x.shape[0]):\n"
    else:
        head = "@njit(f'void({A},i8,i8)', nogil=True, **FLAGS)\ndef kernel(x, z, y, first, last):\n"
        loop = "    for i in range(first, last):\n"
    return f"{HEADER}{head}    n = x.shape[1]\n{loop}{body}\n"


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
    text += "".join(
        source(kind, i).removeprefix(HEADER).replace("def kernel(", f"def kernel{i}(") for i in range(1, COUNT)
    )
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
                    out = subprocess.run(
                        [sys.executable, __file__, "child", folder], capture_output=True, text=True, check=True
                    )
                    runs.append(json.loads(out.stdout))
                cold, warm = runs[0], runs[1:]
                loads = [median(run["kernels"][i] for run in warm) for i in range(len(cold["kernels"]))]
                rows.append(
                    [
                        kind,
                        layout,
                        sum(cold["kernels"]),
                        1e3 * sum(cold["kernels"]) / COUNT,
                        cold["kernels"][0],
                        1e3 * sum(loads),
                        1e3 * sum(loads) / COUNT,
                        1e3 * loads[0],
                        1e3 * median(run["import"] for run in warm),
                    ]
                )
    table(
        [
            f"{COUNT} kernels",
            "layout",
            "cold, s",
            "cold each, ms",
            "cold first, s",
            "warm, ms",
            "warm each, ms",
            "warm first, ms",
            "import numba, ms",
        ],
        rows,
    )


def launches() -> None:
    import numpy as np
    from llvmlite import ir
    from numba import carray, cfunc, njit, prange, types
    from numba.extending import intrinsic

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

    start = perf_counter()
    array, long = types.Array(types.float32, 2, "C"), types.int64
    kernel_type = types.FunctionType(types.void(array, array, array, long, long))

    @njit(types.void(kernel_type, array, array, array, long), parallel=True, **FLAGS)
    def first_class(kernel, x, z, y, chunks):
        """One driver for every kernel of this signature, handed over as a function value."""
        rows = x.shape[0]
        for chunk in prange(chunks):
            kernel(x, z, y, chunk * rows // chunks, (chunk + 1) * rows // chunks)

    print(f"first-class driver compiled in {perf_counter() - start:.2f} s")
    start = perf_counter()
    pointers = (types.CPointer(types.float32), types.CPointer(types.int64))

    @cfunc(types.void(*pointers, long, long), **FLAGS)
    def entry(arena, places, first, last):
        """The uniform kernel: an arena, where its values lie in it, a range of rows."""
        at = carray(places, (4,))
        memory, n = carray(arena, (1 << 40,)), at[3]
        for i in range(first, last):
            x = memory[at[0] + i * n : at[0] + i * n + n]
            z = memory[at[1] + i * n : at[1] + i * n + n]
            y = memory[at[2] + i * n : at[2] + i * n + n]
            for c in range(n):
                y[c] = x[c] * z[c]

    print(f"uniform kernel as cfunc compiled in {perf_counter() - start:.2f} s")

    @intrinsic
    def call(_typing, address, arena, places, first, last):
        def codegen(context, builder, signature, args):
            byte = ir.IntType(8).as_pointer()
            function = ir.FunctionType(ir.VoidType(), [byte, byte, ir.IntType(64), ir.IntType(64)])
            data = [context.make_array(signature.args[i])(context, builder, args[i]).data for i in (1, 2)]
            target = builder.inttoptr(args[0], function.as_pointer())
            builder.call(target, [*(builder.bitcast(d, byte) for d in data), args[3], args[4]])
            return context.get_dummy_value()

        return types.void(address, arena, places, first, last), codegen

    start = perf_counter()

    @njit("void(i8,f4[::1],i8[::1],i8,i8)", parallel=True, **FLAGS)
    def by_address(address, arena, places, rows, chunks):
        """One driver for every uniform kernel."""
        for chunk in prange(chunks):
            call(address, arena, places, chunk * rows // chunks, (chunk + 1) * rows // chunks)

    print(f"address driver compiled in {perf_counter() - start:.2f} s\n")
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
        size = shape[0] * shape[1]
        arena = normal(3 * size)
        x, z, y = arena.reshape(3, *shape)
        places = np.array([0, size, 2 * size, shape[1]])
        times = compare(
            {
                "plain call, 1 thread": lambda: part(x, z, y, 0, x.shape[0]),
                "parallel=True": lambda: parallel(x, z, y),
                "parallel driver of a plain kernel": lambda: driver(x, z, y, 8),
                "first-class function": lambda: first_class(part, x, z, y, 8),
                "by address": lambda: by_address(entry.address, arena, places, shape[0], 8),
                "ThreadPoolExecutor, both": lambda: submit(x, z, y),
                "ThreadPoolExecutor, one": lambda: submit_one(x, z, y),
                "new thread": lambda: threads(x, z, y),
            },
            1.0,
        )
        rows.append([f"{shape[0]}x{shape[1]}", *(1e6 * t for t in times.values())])
    table(["us per call, " + os.environ["NUMBA_THREADING_LAYER"], *times], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2])
    elif sys.argv[1:2] == ["launches"]:
        launches()
    else:
        start_up()
        for layer in ("omp", "workqueue"):
            subprocess.run(
                [sys.executable, "-m", "benchmarks.measure.compile_cost", "launches"],
                env={**os.environ, "NUMBA_THREADING_LAYER": layer},
                check=True,
            )
