"""Three real users of this machine: the owner of a server, a stranger, and root, who we are."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import stop_everything_below

# Accounts that every Unix has and nobody logs in as; not those that root runs PostgreSQL under.
ACCOUNTS = ("daemon", "games", "bin", "sys", "mail", "news")
PACKAGE = Path(__file__).parents[2]


def shared_python() -> str:
    """A Python of this version that everybody can run: ours may stand below /root."""
    ours = Path(sys.executable).resolve()
    if all(one.stat().st_mode & stat.S_IXOTH for one in (ours, *ours.parents)):
        return sys.executable
    return f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


PYTHON = shared_python()


class User(NamedTuple):
    """An account, with a home and a cache of its own."""

    name: str
    uid: int
    gid: int
    home: Path

    def variables(self, **more: object) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR")}
        own = {"HOME": self.home, "OXY_PG_CACHE_DIR": self.home / "cache", "LC_ALL": "C.UTF-8"}
        if PYTHON != sys.executable:
            own["PYTHONPATH"] = os.pathsep.join((str(PACKAGE), sysconfig.get_path("purelib")))
        return kept | {name: str(value) for name, value in (own | more).items()}

    def popen(self, words, **more: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(word) for word in words],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            env=self.variables(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: object, check: bool = True, timeout: float = 60, **more: object) -> str:
        """Run a command as this user; return what it prints, on stderr too if it may fail."""
        process = self.popen(words, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
        if not check:
            return out + err
        assert process.returncode == 0, out + err
        return out

    def python(self, code: str, **more: object) -> str:
        return self.run(PYTHON, "-c", code, **more)

    def oxy_pg(self, *words: object, **more: object) -> str:
        return self.run(PYTHON, "-m", "oxy_pg", *words, **more)


@pytest.fixture
def field(base_dir):
    """A directory that everybody may enter, below which the users have their homes."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who can be three users")
    path = Path(tempfile.mkdtemp(prefix="field-", dir=base_dir))
    path.chmod(0o711)
    yield path
    stop_everything_below(path)
    shutil.rmtree(path, ignore_errors=True)


def make_user(field: Path, number: int, name: str) -> User:
    there = [one for one in pwd.getpwall() if one.pw_name in ACCOUNTS]
    if len(there) < 2:
        pytest.skip(f"needs two of the accounts {', '.join(ACCOUNTS)}")
    account = there[number]
    home = field / name
    home.mkdir(mode=0o711)
    os.chown(home, account.pw_uid, account.pw_gid)
    user = User(account.pw_name, account.pw_uid, account.pw_gid, home)
    if not os.path.exists(PYTHON) or user.run(PYTHON, "-c", "import psycopg, oxy_pg", check=False):
        pytest.skip(f"the user {user.name} can run neither {sys.executable} nor {PYTHON}")
    return user


@pytest.fixture
def owner(field):
    return make_user(field, 0, "owner")


@pytest.fixture
def stranger(field):
    return make_user(field, 1, "stranger")


@pytest.fixture
def root(field):
    """We ourselves, with a home of our own."""
    home = field / "root"
    home.mkdir(mode=0o711)
    return User("root", 0, 0, home)
