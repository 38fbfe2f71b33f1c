"""A template that another user could have written: refused, said, and made anew."""

from __future__ import annotations

import os
import shutil

import pytest

from oxy_pg.server.cluster import archive

START = """
import logging, oxy_pg, psycopg
logging.basicConfig(level="WARNING")
with oxy_pg.temporary() as server:
    with psycopg.connect(server.url()) as connection:
        print(connection.execute("SHOW log_line_prefix").fetchone()[0])
    with psycopg.connect(server.superuser_url()) as connection:
        print([row[0] for row in connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1")])
"""
TWICE = f"for _ in range(2):\n    exec({START!r})\n"  # a template is kept the second time
MARK = "EVIL "


def template_of(user):
    (template,) = (user.home / "cache").glob("template-*")
    return template


def rewritten(template, *more: tuple[str, bytes], replaced: str = "") -> bytes:
    """The template with more files in it, or with another one of that name."""
    whole = template.read_bytes()
    magic, size, begin, _ = whole[:64].decode().rsplit(maxsplit=3)
    lines = whole[64 : 64 + int(size)].decode().splitlines()
    contents = whole[int(begin) :]
    lines = [line for line in lines if line.split(" ", 2)[2] != replaced]
    for name, content in more:
        lines.append(f"{len(contents)} {len(content)} {name}")
        contents += content.ljust(-(-len(content) // 4096) * 4096, b"\0")
    text = "".join(f"{line}\n" for line in lines).encode()
    first = -(-(64 + len(text)) // 4096) * 4096
    head = f"{magic} {len(text)} {first} {first + len(contents)}\n".encode().ljust(64) + text
    return head.ljust(first, b"\0") + contents


def poisoned(template, planted) -> bytes:
    conf = f"log_line_prefix = '{MARK}'\n".encode()
    away = f"{'../' * 12}{str(planted)[1:]}"
    return rewritten(
        template, ("postgresql.auto.conf", conf), (away, b"x"), replaced="postgresql.auto.conf"
    )


def check_start(said: str, reason: str | None) -> None:
    assert MARK not in said
    assert "['postgres']" in said
    if reason is not None:
        assert "is not used" in said
        assert reason in said


def run(user, code: str = START, **variables: object) -> str:
    import tests.security.conftest as users

    return user.run(users.PYTHON, "-c", f"import sys; sys.stderr = sys.stdout\n{code}", **variables)


def test_a_shared_cache_that_a_stranger_has_filled(field, owner, stranger):
    """
    A directory for all, and in it a template that a stranger wrote for the owner.
    """
    run(stranger, TWICE)
    run(owner, TWICE)
    shared, planted = field / "shared", owner.home / "planted"
    shared.mkdir()
    shared.chmod(0o1777)
    cache = shared / "cache"
    cache.mkdir(mode=0o755)
    path = cache / template_of(owner).name
    path.write_bytes(poisoned(template_of(owner), planted))
    for one in (cache, path):
        os.chown(one, stranger.uid, stranger.gid)
    path.chmod(0o644)

    said = run(owner, OXY_PG_CACHE_DIR=cache)

    check_start(said, "belongs to the user")
    assert not planted.exists()


def test_root_with_the_cache_of_a_user(field, owner, root):
    """
    `sudo -E`, with HOME kept: root neither believes a user's template nor writes into his cache.
    """
    run(owner, TWICE)
    template = template_of(owner)
    planted = root.home / "planted"
    template.write_bytes(poisoned(template, planted))
    before = {path: path.stat() for path in (owner.home / "cache").iterdir()}

    said = run(root, TWICE, OXY_PG_CACHE_DIR=owner.home / "cache", HOME=owner.home)

    check_start(said, "belongs to the user")
    assert not planted.exists()
    assert before == {path: path.stat() for path in (owner.home / "cache").iterdir()}
    assert not [path for path in owner.home.rglob("*") if path.stat().st_uid == 0]


@pytest.mark.parametrize("who", ["owner", "root"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("directory's mode", "is writable for other users"),
        ("file's mode", "is writable for other users"),
        ("link", "Too many levels of symbolic links"),
        ("second name", "has another name elsewhere"),
        ("content", "its checksum is not the one that was kept"),
        ("checksum", None),
    ],
)
def test_what_a_stranger_could_have_changed(request, who, change, reason):
    """
    Mode, links and content are looked at, at every use; and what was refused is made anew.
    """
    user = request.getfixturevalue(who)
    run(user, TWICE)
    template = template_of(user)
    assert "is not used" not in run(user)
    if change == "directory's mode":
        template.parent.chmod(0o777)
    elif change == "file's mode":
        template.chmod(0o666)
    elif change == "link":
        template.rename(template.with_name("elsewhere"))
        template.symlink_to("elsewhere")
    elif change == "second name":
        template.with_name("elsewhere").hardlink_to(template)
    elif change == "content":
        with template.open("r+b") as file:
            file.seek(2_000_000)
            file.write(b"changed")
    else:
        shutil.rmtree(user.home / ".local")

    check_start(run(user), reason)

    if change == "directory's mode":
        template.parent.chmod(0o700)
    assert "is not used" not in run(user)


@pytest.mark.parametrize(
    ("names", "replaced", "reason"),
    [
        ([("/etc/planted", b"x")], "", "leads elsewhere"),
        ([("base/../../planted", b"x")], "", "leads elsewhere"),
        ([("base/1/../x", b"x")], "", "leads elsewhere"),
        ([("base//x", b"x")], "", "leads elsewhere"),
        ([("standby.signal", b"")], "", "not a part of a new cluster"),
        ([("extra.conf", b"x = 1")], "", "not a part of a new cluster"),
        ([("pg_tblspc/1", b"")], "", "not a part of a new cluster"),
        ([("pg_\x1b[31m/x", b"")], "", "leads elsewhere"),
    ],
)
def test_names_that_do_not_belong_in_a_cluster(owner, names, replaced, reason, tmp_path):
    """
    Even with a checksum that is right, an archive cannot write outside of the new directory.
    """
    run(owner, TWICE)
    template = template_of(owner)
    (tmp_path / "changed").write_bytes(rewritten(template, *names, replaced=replaced))
    from oxy_pg.server.cluster import template as templates
    from oxy_pg.server.cluster.account import Account

    descriptor = os.open(tmp_path / "changed", os.O_RDONLY)
    try:
        with pytest.raises(archive.Damaged, match=reason):
            archive.unpack(
                descriptor,
                str(tmp_path / "new"),
                Account(0, 0, "root", demoted=False),
                templates._is_expected,
            )
    finally:
        os.close(descriptor)
    assert not (tmp_path / "planted").exists()


def test_two_caches_of_one_user(owner):
    """
    Each has its own template; neither is refused for the other's checksum.
    """
    caches = owner.home / "one", owner.home / "two"
    for cache in caches:
        run(owner, TWICE, OXY_PG_CACHE_DIR=cache)
        assert list(cache.glob("template-*"))

    for cache in caches:
        assert "is not used" not in run(owner, OXY_PG_CACHE_DIR=cache)
