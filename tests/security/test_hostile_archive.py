"""An archive for ``oxy-pg binaries add`` whose links lead out of it when it has been moved."""

from __future__ import annotations

import io
import tarfile

import pytest

from oxy_pg.server.binaries import unpacking


@pytest.mark.parametrize("link", ["lib/postgresql", "share/postgresql/extension"])
def test_a_link_that_leads_out_after_moving(tmp_path, link):
    """
    In the archive it stays inside; what is next to the installation is not touched.
    """
    precious = tmp_path / "victim" / "pgxs"
    precious.mkdir(parents=True)
    place = tmp_path / "new"
    place.mkdir()
    above = "../" * (link.count("/") + 2)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("package/native/bin/postgres", "victim/file"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        there = tarfile.TarInfo(f"package/native/{link}")
        there.type, there.linkname = tarfile.SYMTYPE, f"{above}victim"
        archive.addfile(there)

    with pytest.raises(unpacking.NotUsable, match="leads out of it"):
        unpacking.unpack(str(tmp_path / "a.tar"), str(place / "installation"))

    assert precious.is_dir()
