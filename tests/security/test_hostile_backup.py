"""Backups of a stranger: nothing of them runs on this machine, whatever they claim to be."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import random

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer.backup import manifest as manifests

ESCAPE = "\x1b]0;title\x07\x1b[31m\u202e"
DATA_HEADING = "--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: -\n--\n\n"
FOOTER = b"\x1f\x8b\x08\x10\0\0\0\0\0\xffoxy_pg manifest %012d\0\x03\0" + bytes(8)


COMMANDS = (
    r"\! {touch}",
    r"SELECT 1; \! {touch}",
    "\\unrestrict x\n\\! {touch}",
    "\\restrict abc\n\\unrestrict abc\n\\! {touch}",
    "COPY public.t (a) FROM stdin;\n5\n\\.\n\\! {touch}",
    f"{DATA_HEADING}COPY public.t (a) FROM stdin;\n5\n\\.\n\\! {{touch}}",
    "\\o |{touch}\nSELECT 1;\n\\o",
    r"\set x `{touch}`",
    r"SELECT 'x' \g |{touch}",
    r"SELECT 'touch' \gexec",
    r"\copy t to program '{touch}'",
    r"\i /etc/passwd",
    r"\setenv PATH /tmp",
    r"\connect postgres",
    "COPY (SELECT 1) TO PROGRAM '{touch}';",
    "SELECT pg_read_file('/etc/passwd');",
    "SELECT lo_import('/etc/passwd');",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x';",
    "CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'x';",
    "ALTER ROLE oxy SUPERUSER;",
    "SET SESSION AUTHORIZATION postgres;",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A plain backup of a small table: its SQL, and its manifest as a dictionary."""
    with oxy_pg.temporary() as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 3) g")
        path = tmp_path_factory.mktemp("plain") / "good.sql.gz"
        server.backup(path, plain=True)
    whole = gzip.decompress(path.read_bytes())
    script = whole.partition(b"-- oxy_pg backup manifest")[0]
    return script, manifests.read(str(path)).to_dict()


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary() as running:
        yield running


def written(path, script: bytes, values: object):
    """A backup with this SQL, whose check sums are right, and with this manifest."""
    dump = gzip.compress(script, mtime=0)
    if isinstance(values, dict):
        digest = hashlib.sha256(dump).hexdigest()
        values = {"size": len(dump), "sha256": digest, **values}
    return with_member(path, dump, b"-- oxy_pg backup manifest: " + json.dumps(values).encode())


def with_member(path, dump: bytes, text: bytes):
    member = gzip.compress(text, 1)
    path.write_bytes(dump + member + FOOTER % len(member))
    return path


def without_sums(values):
    return {name: value for name, value in values.items() if name not in ("size", "sha256")}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("in_place", [False, True])
def test_no_command_in_a_script_runs(plain, server, tmp_path, command, in_place):
    """
    Neither psql's commands nor what takes a superuser: refused, and the database is as it was.
    """
    script, values = plain
    line = command.replace("{touch}", f"touch {tmp_path}/owned").encode()
    hostile = script.replace(b"SET row_security", line + b"\nSET row_security")
    assert hostile != script
    path = written(tmp_path / "a.sql.gz", hostile, without_sums(values))
    server.ensure_database("target")

    with pytest.raises(oxy_pg.TransferError):
        server.restore(path, database="target", in_place=in_place)

    assert not (tmp_path / "owned").exists()
    with psycopg.connect(server.url("target")) as connection:
        assert (None,) == connection.execute("SELECT to_regclass('t')").fetchone()
        rights = "SELECT rolsuper FROM pg_roles WHERE rolname = 'oxy'"
        assert (False,) == connection.execute(rights).fetchone()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_deep_check_runs_no_command_of_it(plain, tmp_path, command):
    """
    It restores into a server of its own, on this machine: that is no reason to trust it.
    """
    script, values = plain
    line = command.replace("{touch}", f"touch {tmp_path}/owned").encode()
    hostile = script.replace(b"SET row_security", line + b"\nSET row_security")
    path = written(tmp_path / "a.sql.gz", hostile, without_sums(values))

    with pytest.raises(oxy_pg.TransferError):
        oxy_pg.check_backup(path, deep=True)

    assert not (tmp_path / "owned").exists()


def test_a_deep_check_of_the_same_script_without_it(plain, tmp_path):
    """
    Otherwise the test above proves nothing.
    """
    script, values = plain
    path = written(tmp_path / "a.sql.gz", script, without_sums(values))
    assert [3] == [table.rows for table in oxy_pg.check_backup(path, deep=True).tables]


def test_the_same_script_without_it_is_restored(plain, server, tmp_path):
    """
    Otherwise the test above proves nothing; with text in a function that looks like a script.
    """
    script, values = plain
    body = (
        b"CREATE FUNCTION public.odd() RETURNS text LANGUAGE sql AS $_$ SELECT '\n"
        b"COPY public.t (a) FROM stdin;\n\\.\n\\! x' $_$;\n"
        b"CREATE FUNCTION public.two() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; "
        b"END;\n"
    )
    path = written(
        tmp_path / "a.sql.gz",
        script.replace(b"SET row_security", body + b"SET row_security"),
        without_sums(values),
    )
    for in_place in (False, True):
        name = f"good_{in_place}".lower()
        server.ensure_database(name)
        server.restore(path, database=name, in_place=in_place)
        with psycopg.connect(server.url(name)) as connection:
            row = connection.execute("SELECT odd(), two(), array_agg(a) FROM t").fetchone()
        assert row == ("\nCOPY public.t (a) FROM stdin;\n\\.\n\\! x", 2, [1, 2, 3])


@pytest.mark.parametrize(
    "changed",
    [
        {"size": "12"},
        {"size": True},
        {"size": -1},
        {"database": None},
        {"database": "a\0b"},
        {"database": f"{ESCAPE}x\n"},
        {"database": 'x"; DROP DATABASE oxy; --'},
        {"database": "../../etc/x"},
        {"database": "x" * 70},
        {"server_version": 5},
        {"server_version": ESCAPE},
        {"tool_version": None},
        {"tool_version": "; rm -rf"},
        {"sha256": 1},
        {"sha256": ESCAPE},
        {"tables": 5},
        {"tables": [1]},
        {"tables": [{"schema": 1, "name": 2, "rows": "x"}]},
        {"tables": [{"schema": "public", "name": "nope; drop", "rows": 3}]},
        {"tables": {"a": 1}},
        {"extensions": None},
        {"extensions": [{"name": f"plpgsql{ESCAPE}", "version": "1", "schema": "public"}]},
        {
            "extensions": [
                {"name": 'x"; ALTER ROLE oxy SUPERUSER; --', "version": "1", "schema": "a"}
            ]
        },
        {"extensions": [{"name": "vector", "version": "0.6.2", "schema": "pg_catalog"}]},
        {"extensions": [{"name": "vector", "version": "0.6.2", "schema": "pg_toast"}]},
        {"extensions": [{"name": "vector", "version": "0.6.2", "schema": "information_schema"}]},
        {"extensions": [{"name": "file_fdw", "version": "1", "schema": "public"}]},
        {"kind": "weird"},
        {"kind": "custom"},
        {"kind": ["plain"]},
        {"database_bytes": "NaN"},
        {"database_bytes": 1.5},
        {"large_objects": "x"},
        {"large_objects": 3},
        {"server_version": "999.1"},
        {"tool_version": "99.1"},
        {"format": "x"},
        {"format": 99, "oxy_pg_version": ESCAPE},
        {"format": -1},
        {"unknown": 1},
    ],
)
def test_no_manifest_is_believed(plain, server, tmp_path, changed):
    """
    A typed error whose text a terminal can show, or a database of that odd name; never more.
    """
    script, values = plain
    path = written(tmp_path / "a.sql.gz", script, {**without_sums(values), **changed})
    try:
        report = server.restore(path)
    except oxy_pg.OxyPgError as error:
        shown = str(error)
    else:
        shown = report.to_json()
    assert not any(character in shown for character in "\x1b\x07\u202e\0")
    with psycopg.connect(server.superuser_url()) as connection:
        rights = "SELECT rolsuper FROM pg_roles WHERE rolname = 'oxy'"
        assert (False,) == connection.execute(rights).fetchone()
        there = "SELECT count(*) FROM pg_database WHERE datname = 'oxy'"
        assert (1,) == connection.execute(there).fetchone()


@pytest.mark.parametrize(
    "text",
    [
        b"-- oxy_pg backup manifest: " + b"[" * 200_000,
        b"-- oxy_pg backup manifest: [1,2]",
        b"-- oxy_pg backup manifest: null",
        b"-- oxy_pg backup manifest: 1e999",
        b"-- oxy_pg backup manifest: {}",
        b"\xff\xfe",
        b"A" * (600 << 20),
    ],
    ids=["deep", "list", "null", "infinite", "empty", "not ascii", "bomb"],
)
def test_any_shape_of_a_manifest(tmp_path, text):
    """
    No shape of a manifest brings more than BackupDamaged.
    """
    path = with_member(tmp_path / "a.sql.gz", gzip.compress(b"x"), text)
    with pytest.raises(oxy_pg.BackupDamaged):
        oxy_pg.check_backup(path)


def test_damaged_at_random(plain, tmp_path):
    """
    No change of a byte of the file's end goes unnoticed, or brings an error of Python's own.
    """
    script, values = plain
    path = written(tmp_path / "a.sql.gz", script, without_sums(values))
    whole = path.read_bytes()
    chance = random.Random(7)
    begin = values["size"] if values["size"] < len(whole) else 0
    for _ in range(400):
        at = chance.randrange(begin, len(whole))
        damaged = bytearray(whole)
        damaged[at] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            found = oxy_pg.check_backup(path)
        except (oxy_pg.BackupDamaged, oxy_pg.NotABackup, oxy_pg.BackupTooNew):
            continue
        assert dataclasses.asdict(found)
