"""Archives with a PostgreSQL 16, as users download them."""

from __future__ import annotations

import tarfile

import pytest

from oxy_pg.server.binaries import store
from tests.other_servers import npm_archive


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    """These tests are about what is found, also where the suite runs on another PostgreSQL."""
    monkeypatch.delenv("OXY_PG_BIN_DIR", raising=False)


@pytest.fixture(scope="session")
def archive(base_dir):
    """The npm package with the build that has contrib, as `npm pack` writes it."""
    return npm_archive("16.14.0-beta.17", base_dir / "npm-16")


@pytest.fixture(scope="session")
def native(archive):
    """What is in that package: the directory of bin, lib and share, without the links."""
    place = archive.parent / "unpacked"
    with tarfile.open(archive) as package:
        if hasattr(tarfile, "data_filter"):
            package.extraction_filter = tarfile.data_filter
        package.extractall(place)
    return place / "package" / "native"


@pytest.fixture(scope="module")
def contrib(base_dir, archive):
    """That build, added for the tests of a module."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OXY_PG_BINARIES_DIR", str(base_dir / f"binaries-{len(list(base_dir.iterdir()))}"))
    yield store.add(str(archive))
    patch.undo()


@pytest.fixture
def nothing_added(monkeypatch, base_dir, tmp_path):
    """A directory of added binaries with nothing in it, which root's other user can enter."""
    place = base_dir / f"binaries-of-{tmp_path.name}"
    monkeypatch.setenv("OXY_PG_BINARIES_DIR", str(place))
    return place
