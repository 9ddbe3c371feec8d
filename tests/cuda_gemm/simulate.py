"""Runs rendered kernels in Numba's CUDA simulator: a folder holds launches and arrays, and gets the results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numba import cuda

from alexdsl.ir.kernels import fingerprint
from alexdsl.ir.store import import_file


def main(folder: Path) -> None:
    for case in json.loads((folder / "cases.json").read_text()):
        arrays = dict(np.load(folder / f"{case['name']}.npz"))
        for launch in case["launches"]:
            name = f"kernel_{fingerprint(launch['source'])}"
            path = folder / f"{name}.py"
            path.write_text(launch["source"])
            module = import_file(name, path)
            kernel = cuda.jit(module.SIGNATURE)(module.kernel)
            kernel[tuple(launch["grid"]), tuple(launch["block"])](*(arrays[name] for name in launch["args"]))
        np.savez(folder / f"{case['name']}.done.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
