"""What all tests of the CUDA kernels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cold cache of kernels for all tests of the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXDSL_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield
