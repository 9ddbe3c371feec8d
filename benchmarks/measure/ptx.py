"""Question 5: a generated convolution kernel to PTX with no GPU; its environment has numba-cuda[cu13], not torch."""

import importlib.util
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from types import ModuleType

SOURCE = '''
from numba import cuda, float32, uint32


def conv(x, w, bias, y, channels, side, filters, out):
    """y[n, f, oy, ox] = relu(bias[f] + sum x * w), kernel {kernel}, stride {stride}; one thread an output."""
    at = cuda.grid(1)
    if at >= y.size:
        return
    ox = at % out
    oy = at // out % out
    f = at // (out * out) % filters
    n = at // (out * out * filters)
    total = bias[f]
    for c in range(channels):
        for ky in range({kernel}):
            for kx in range({kernel}):
                total += x[((n * channels + c) * side + oy * {stride} + ky) * side + ox * {stride} + kx] \\
                    * w[((f * channels + c) * {kernel} + ky) * {kernel} + kx]
    y[at] = max(total, float32(0))
'''


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    start = perf_counter()
    from numba import cuda, types

    print(f"import numba.cuda: {perf_counter() - start:.2f} s")
    array, integer = types.Array(types.float32, 1, "C"), types.uint32
    signature = types.void(array, array, array, array, integer, integer, integer, integer)
    with tempfile.TemporaryDirectory() as folder:
        for kernel, stride in ((11, 4), (5, 1), (3, 1)):
            path = Path(folder, f"conv_{kernel}_{stride}.py")
            path.write_text(SOURCE.format(kernel=kernel, stride=stride))
            function = load(path).conv
            for capability in ((8, 0), (9, 0)):
                start = perf_counter()
                text, returned = cuda.compile_ptx(function, signature, cc=capability, fastmath=True, lineinfo=True)
                seconds = perf_counter() - start
                version = next(line for line in text.splitlines() if line.startswith(".version"))
                entry = next(line for line in text.splitlines() if ".entry" in line)
                counts = ", ".join(f"{text.count(word)} {word}" for word in ("fma.rn", ".f64", ".loc"))
                print(f"{path.stem} sm_{capability[0]}{capability[1]}: {seconds:.2f} s, {version}, returns {returned}")
                print(f"    {len(text.splitlines())} lines, {counts}, {entry[:80]}")


if __name__ == "__main__":
    sys.exit(main())
