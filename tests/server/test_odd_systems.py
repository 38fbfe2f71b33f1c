"""Systems and shells that are set up in an unusual way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import oxy_pg


@pytest.mark.parametrize("umask", ["0o777", "0o277", "0o0"])
def test_any_umask_will_do(run_python, state_dir, umask):
    """
    What we make has the mode that it needs, whatever the caller's umask takes away.
    """
    answer = run_python(
        f"""
import os, oxy_pg, psycopg
os.umask({umask})
with oxy_pg.temporary() as server:
    print(psycopg.connect(server.url()).execute("SELECT 1").fetchone())
os.environ["OXY_PG_CACHE_DIR"] = os.environ["OXY_STATE_DIR"] + "/../cache"
oxy_pg.ensure()
oxy_pg.Server().stop()
print(psycopg.connect(oxy_pg.ensure()).execute("SELECT 2").fetchone())
""",
        OXY_STATE_DIR=state_dir / "below" / "it",
    )

    assert "(1,)\n(2,)" == answer
    assert not (state_dir / "below" / "it" / "password").stat().st_mode & 0o077


def in_user_namespace(how, state_dir):
    """What ensure() says in a new user namespace."""
    code = (
        "import oxy_pg, psycopg\n"
        "try: print(psycopg.connect(oxy_pg.ensure()).execute('SELECT 1').fetchone())\n"
        "except oxy_pg.OxyPgError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        ["unshare", how, sys.executable, "-c", code],
        env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unshare failed" in done.stderr:
        pytest.skip("this system has no user namespaces for this user")
    return done.stdout + done.stderr


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.skipif(os.geteuid() == 0, reason="root's Python is closed to the user that this gives")
def test_a_user_namespace_without_names(state_dir, is_new):
    """
    There the owner of a file cannot be changed, not even to the one that it has.
    """
    if not is_new:
        with oxy_pg.Server(state_dir) as server:
            server.stop()

    assert "(1,)" in in_user_namespace("-U", state_dir)


def test_the_root_of_a_user_namespace_that_has_no_other_user(state_dir):
    """
    PostgreSQL refuses root, and there is no other: said, with the way out.
    """
    answer = in_user_namespace("-Ur", state_dir)

    assert "ConfigurationError" in answer
    assert "user namespace" in answer
    assert "--userns=keep-id" in answer
