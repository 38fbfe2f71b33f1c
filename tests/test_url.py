"""URLs: read strictly, shown without their passwords; thousands of broken ones, and every verb."""

from __future__ import annotations

import json
import logging
import pickle
import random
import re
import sqlite3
import traceback
from urllib.parse import quote, unquote

import psycopg
import pytest
from sqlalchemy.engine import make_url

import oxy_pg
from oxy_pg import url as urls

# --- what is well-formed ------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgres://u:s3cret@h/db", "postgres://u:***@h/db"),
        ("postgresql+asyncpg://u:s3cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:s3c:ret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:s3%40cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:s3!$&'()*+,;=cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:ü3@h/db", "postgresql://u:***@h/db"),
        ("postgresql://user@h/db", "postgresql://user@h/db"),
        ("postgresql://s3cretToken@h/db", "postgresql://***@h/db"),  # may be a token
        ("postgresql://h1:1,h2:2/db", "postgresql://h1:1,h2:2/db"),
        ("postgresql://u:s3cret@[::1]:5432/db", "postgresql://u:***@[::1]:5432/db"),
        ("postgresql://", "postgresql://"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg"),
        (
            "postgresql://u@h/db?password=s3cret&sslmode=require",
            "postgresql://u@h/db?password=***&sslmode=require",
        ),
        ("postgresql://user@h/db?pass%77ord=s3cret", "postgresql://user@h/db?***=***"),
        ("postgresql://user@h/db?options=-csecret%3D1", "postgresql://user@h/db?options=***"),
        ("postgresql://user@h/db?passfile=s3cret", "postgresql://user@h/db?passfile=***"),
        ("postgresql://oxy@/oxy?host=%2Frun%2Fs&port=5", "postgresql://oxy@/oxy?host=%2Frun%2Fs&port=5"),
    ],
)  # fmt: skip
def test_a_good_url_is_accepted_and_shown_without_its_secrets(url, shown):
    """
    What every driver reads alike comes back as it is, and a message shows all but the secrets.
    """
    assert "postgresql://" + url.partition("://")[2] == urls.plain(url)
    assert shown == urls.mask(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://u:ab@s3cret@h/db", "more than one @"),
        ("postgresql://u:12/s3cret@h/db", "an @ after the host"),
        ("postgresql://u:12?s3cret@h/db", "an @ after the host"),
        ("postgresql://u:ab/s3cret@h/db", "@ after the host"),
        ("postgresql://u:s3cret/ab", "port"),
        ("postgresql://u:s3cret", "port"),
        ("postgresql://u:s3cret#ab@h/db", "%23"),
        ("postgresql://u:[s3cret@h/db", "%5B"),
        ("postgresql://u:ab s3cret@h/db", "%20"),
        ("postgresql://u:s3cret@h/db\n", "line break"),
        ("postgresql://u:%zzs3cret@h/db", "%25"),
        ("postgresql://u:s3cret%00@h/db", "%00"),
        ("postgresql://u:s3cret%fc@h/db", "UTF-8"),
        ("postgresql://u:s3cret@h:99999/db", "port"),
        ("postgresql://u:s3cret@[::1/db", "bracket"),
        ("postgresql://u:s3cret@h/db;password=s3cret", "%3B"),
        ("postgresql://u@h/db?s3cret", "name=value"),
        ("postgresql:/u:s3cret@h/db", "must be a postgresql:// URL"),
        ("jdbc:postgresql://h/db?user=u&password=s3cret", "must be a postgresql:// URL"),
        ("host=h user=u password='s3cret x'", "must be a postgresql:// URL"),
        ("u:s3cret@h/db", "must be a postgresql:// URL"),
        ("s3cret://u@h/db", "must be a postgresql:// URL"),
        ('"postgresql://u:s3cret@h/db"', "must be a postgresql:// URL"),
        ("mysql://u:a/s3cret@h/db", r"a mysql URL \(mysql://\*\*\*\)"),
    ],
)
def test_a_bad_url_is_refused_with_the_reason(url, problem):
    """
    What two drivers could read differently is refused; the message says what to write.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match=problem) as caught:
        urls.plain(url)

    assert "cret" not in str(caught.value)
    assert "cret" not in urls.mask(url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no route to host", "no route to host"),
        ("see https://www.postgresql.org/docs/16/", "see https://www.postgresql.org/docs/16/"),
        ("cannot reach postgresql://u:s3cret@h/db now", "cannot reach postgresql://u:***@h/db now"),
        ("cannot reach postgresql://u:s3/cret@h/db", "cannot reach postgresql://***"),
        ("host=h password='s3cret x' user=u", "host=h password=*** user=u"),
        ("host=h password=s3cret\\ x user=u", "host=h password=*** user=u"),
        ("fetch https://u:s3cret@h/x", "fetch https://u:***@h/x"),
    ],
)
def test_texts_lose_the_passwords_in_them(text, shown):
    """
    What a program says is shown without URLs' and connection strings' passwords.
    """
    assert shown == urls.mask_text(text)


def test_what_is_said_of_a_url_does_not_repeat_its_secrets():
    """
    Neither as the URL spells them nor as they are meant; but a name that all know stays.
    """
    url = "postgresql://u:s3%2Fcret@h/db?sslpassword=other%21secret"
    said = f"wrong: s3/cret, s3%2Fcret, s3%2fcret, other!secret in {url}"

    assert "cret" not in urls.mask_text(said.replace("s3%2fcret, ", ""), url).replace("***", "")
    assert 'user "postgres"' == urls.mask_text(
        'user "postgres"', "postgresql://postgres:postgres@h/postgres"
    )


# --- thousands of broken ones -------------------------------------------------------

PIECES = ("Zq7xWv", "Kj5LpQ", "Yd9RtM")  # a password is made of them; none may show anywhere
BETWEEN = ("", "@", ":", "/", "?", "#", "&", "=", "%", "%zz", "%40", "%2F", "%00", "%fc", "[", "]",
           " ", "\n", "\t", "\x1b", "'", '"', "\\", ";", ",", "+", "ü", "é%C3", "://", "@@", "//",
           "12/", "1?", "\udcff", "$", "{", "}", "|", "^", "<", ">", "..", "*")  # fmt: skip


def broken_urls(count: int, seed: int):
    """Yield URLs with a password of PIECES, most of them malformed in one way or several."""
    pick = random.Random(seed)

    def word(*choices: str) -> str:
        return pick.choice(choices)

    for _ in range(count):
        pieces = pick.sample(PIECES, pick.randint(1, 3))
        password = pieces[0] + "".join(word(*BETWEEN) + piece for piece in pieces[1:])
        password = word("", "", *BETWEEN) + password + word("", "", *BETWEEN)
        if pick.random() < 0.2:
            password = quote(password.encode("utf-8", "surrogateescape"), safe="")
        # With one of these, and no @ before the host, it is a host, a port or a database by any
        # reading, and no password.
        ambiguous = any(one in password for one in ("@", "12/", "1?"))
        userinfo = word("u", "user", "", "u%zz", "a b", "u:x", "u/x") + word(":", ":", ":", "%3A")
        host = word("h", "127.0.0.1:1", "[::1]:1", "[::1", "h:x", "h:99999", "", "h1:1,h2:2")
        url = (
            word("postgresql", "postgresql", "postgres", "postgresql+psycopg2", "mysql", "x", "")
            + word("://", "://", "://", "://", ":/", ":", "//", "")
            + userinfo
            + password
            + word("@", "@", "@", "@", "@@", "@" if ambiguous else "")
            + (host if pick.random() < 0.9 else "")
            + word("/db", "/db", "", "/", "/a/b", "/db;x")
        )
        where = pick.random()
        if where < 0.2:
            key = word(
                "password", "sslpassword", "PASSWORD", "pass%77ord", "passwd", "x", "options"
            )
            url = f"postgresql://u@127.0.0.1:1/db{word('?', '?', '#', ';', '&')}{key}={password}"
        elif where < 0.25:
            url = f"host=127.0.0.1 port=1 user=u password={word('', chr(39))}{password} dbname=db"
        cut = pick.random()
        if (
            cut < 0.1 and "@" not in password
        ):  # in two, at one of the characters that mean something
            places = [found.end() for found in re.finditer(r"[@:/?#=&%]", url)]
            url = url[: pick.choice(places)] if places else url
        if not re.search(r"[:@%=]", url.partition("://")[2] or url):
            continue  # the same
        yield url + word("", "", "", "\n", "?sslmode=require", "?nonsense=1", "#x", "?x")


def shown_by(error: BaseException) -> str:
    """Everything that an error could show: texts, arguments, pickle, causes, traceback, locals."""
    found: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        found += [str(one), repr(one), repr(one.args), repr(vars(one))]
        waiting += [one.__cause__, one.__context__]
        found += traceback.format_exception(one)
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if not frame.f_code.co_filename.startswith(__file__):
                found += [repr(value) for value in frame.f_locals.values()]
    return "\n".join((*found, repr(pickle.dumps(error))))


def leaked(text: str, handle: str) -> list[str]:
    """What of the password stands in a text, apart from the very URL that the caller gave."""
    # A frame may hold that, or the same with another scheme; and nothing that was cut out of it.
    for form in (handle, handle.partition("://")[2] or handle):
        for spelled in (form, repr(form)[1:-1], repr(repr(form))[1:-1]):
            text = text.replace(spelled, "")
    text += unquote(text)
    return [piece for piece in PIECES if piece.lower() in text.lower()]


def examine(count: int, seed: int) -> tuple[int, int]:
    """Try broken URLs; return how many were refused, and how many not."""
    refused = 0
    for url in broken_urls(count, seed):
        assert not any(piece in urls.mask(url) for piece in PIECES), url
        said = f"could not connect to {url}: no route"
        assert not any(piece in urls.mask_text(said, url) for piece in PIECES), url
        error = refusal(url)
        if error is not None:
            refused += 1
            assert not any(piece in str(error) for piece in PIECES), url
            assert [] == leaked(shown_by(error), url), url
    return refused, count - refused


def refusal(url: str) -> oxy_pg.ConfigurationError | None:
    try:
        urls.check(urls.plain(url, "The URL"), "The URL")
    except oxy_pg.ConfigurationError as error:
        return error
    return None


def test_no_broken_url_shows_its_password():
    """
    20,000 generated URLs: refused or not, no piece of the password is shown anywhere.
    """
    refused, accepted = examine(20_000, seed=1)

    assert refused > 15_000
    assert accepted > 300


@pytest.mark.long
def test_no_broken_url_of_very_many_shows_its_password():
    """
    The same, 100,000 times, anew each time.
    """
    refused, accepted = examine(100_000, random.randrange(1 << 32))  # a failure names the URL

    assert refused > 75_000
    assert accepted > 1_500


# --- every verb ---------------------------------------------------------------------

FORMS = (
    "postgresql://u:Zq7xWv@127.0.0.1:1/db",  # nobody listens there
    "postgresql+psycopg2://u:Zq7xWv%2FKj5LpQ@127.0.0.1:1/db",
    "postgresql://Zq7xWv@127.0.0.1:1/db",
    "postgresql://u@127.0.0.1:1/db?password=Zq7xWv",
    "postgresql://u@127.0.0.1:1/db?password=Zq7xWv&sslpassword=Kj5LpQ",
    "postgresql://u@127.0.0.1:1/db?options=-c%20x.token%3DZq7xWv",
    "postgresql://u@127.0.0.1:1/db?passfile=Zq7xWv",
    "postgresql://u@127.0.0.1:1/db?nosuch=Zq7xWv",
    "postgresql://u:Zq7xWv@127.0.0.1:1/db?sslmode=nonsense",
    "postgresql://u:Zq7xWv@/db?host=/nonexistent",
    "postgresql://u:Zq7xWv@127.0.0.1:1,127.0.0.1:2/db",
    "postgresql://u:Zq7xWv/Kj5LpQ@127.0.0.1:1/db",
    "postgresql://u:ab@Zq7xWv@127.0.0.1:1/db",
    "postgresql://u:%zzZq7xWv@127.0.0.1:1/db",
    "postgresql://u:Zq7xWv#Kj5LpQ@127.0.0.1:1/db",
    "postgresql://u:Zq7xWv@127.0.0.1:99999/db",
    "host=127.0.0.1 port=1 user=u password='Zq7xWv x'",
    "mysql://u:Zq7xWv@127.0.0.1:1/db",
    "u:Zq7xWv@127.0.0.1:1/db",
)


@pytest.fixture(scope="module")
def place(base_dir):
    """A server with a database, a backup of it, and a SQLite database."""
    path = base_dir / "urls"
    path.mkdir(mode=0o711)
    with oxy_pg.Server(path / "state", keep_alive=0) as server:
        url = server.ensure_database()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
        oxy_pg.backup(path / "good.dump", url)
        with sqlite3.connect(path / "source.db") as source:
            source.execute("CREATE TABLE t (id integer PRIMARY KEY)")
        yield path
        server.stop()


def verb_calls(place, url, monkeypatch):
    """Every public verb that takes a URL."""

    def ensure():
        monkeypatch.setenv("OXY_DATABASE_URL", url)
        oxy_pg.ensure(timeout=0.1)

    return {
        "ensure": ensure,
        "migrate_sqlite": lambda: oxy_pg.migrate_sqlite(place / "source.db", url, timeout=0.1),
        "push": lambda: oxy_pg.push(url, timeout=0.1),
        "pull": lambda: oxy_pg.pull(url, timeout=0.1),
        "backup": lambda: oxy_pg.backup(place / "new.dump", url, timeout=0.1),
        "restore": lambda: oxy_pg.restore(place / "good.dump", url, timeout=0.1),
    }


@pytest.mark.parametrize("verb", ["ensure", "migrate_sqlite", "push", "pull", "backup", "restore"])
def test_no_verb_shows_a_password(verb, place, monkeypatch, caplog):
    """
    Whatever is wrong with a URL: a typed error, without its password in any form, logs included.
    """
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OXY_STATE_DIR", str(place / "state"))
    for url in FORMS:
        with pytest.raises(oxy_pg.OxyPgError) as caught:
            verb_calls(place, url, monkeypatch)[verb]()

        assert [] == leaked(shown_by(caught.value), url), url
        assert [] == leaked(caplog.text, url), url


@pytest.mark.parametrize(
    "words",
    [
        ("url",),
        ("status", "--json"),
        ("doctor", "--json"),
        ("psql",),
        ("migrate-sqlite", "--from", "{place}/source.db", "--to", "{url}", "--timeout", "1"),
        ("push", "--to", "{url}", "--json", "--timeout", "1"),
        ("pull", "--from", "{url}", "--dry-run", "--json", "--timeout", "1"),
    ],
)
def test_no_command_shows_a_password(words, place, cli):
    """
    Neither on stdout nor on stderr, as text or as JSON.
    """
    for url in FORMS[::4]:
        variables = {} if any("{url}" in word for word in words) else {"OXY_DATABASE_URL": url}
        arguments = [word.format(place=place, url=url) for word in words]
        if words[0] in {"url", "psql", "status"}:
            arguments += ["--timeout", "0.1"]

        done = cli(*arguments, OXY_STATE_DIR=place / "state", **variables)

        assert done.returncode != 0
        assert "Traceback" not in done.stderr, done.stderr
        shown = done.stdout + done.stderr
        assert not any(piece in shown for piece in PIECES), shown
        if "--json" in words and done.stdout:
            json.loads(done.stdout)


# --- spelled for a driver -----------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "driver", "spelled"),
    [
        ("postgresql://u:p@h:1/d", "asyncpg", "postgresql+asyncpg://u:p@h:1/d"),
        ("postgresql://u:p@h:1/d", "psycopg2", "postgresql+psycopg2://u:p@h:1/d"),
        ("postgresql://u:p@h:1/d", "jdbc", "jdbc:postgresql://h:1/d?user=u&password=p"),
        ("postgresql://h/d", "jdbc", "jdbc:postgresql://h/d"),
        ("postgresql://", "psycopg", "postgresql+psycopg://"),
        # The same parameter, under the driver's own name.
        ("postgresql://u:p@h/d?sslmode=require", "asyncpg", "postgresql+asyncpg://u:p@h/d?ssl=require"),
        ("postgresql://u:p@h/d?sslmode=require", "psycopg", "postgresql+psycopg://u:p@h/d?sslmode=require"),
        ("postgresql://h/d?application_name=a", "pg8000", "postgresql+pg8000://h/d?application_name=a"),
        ("postgresql://h/d?application_name=a", "jdbc", "jdbc:postgresql://h/d?ApplicationName=a"),
        # SQLAlchemy and Java take "+" for a space, where libpq does not.
        ("postgresql://h/d?options=-ca%20b+c", "psycopg", "postgresql+psycopg://h/d?options=-ca%20b%2Bc"),
        ("postgresql://u:p+q@h/d", "jdbc", "jdbc:postgresql://h/d?user=u&password=p%2Bq"),
        # Hosts that SQLAlchemy does not read where libpq does.
        ("postgresql://u@h1:1,h2:2/d", "psycopg", "postgresql+psycopg://u@/d?host=h1%3A1&host=h2%3A2"),
        ("postgresql://u@%2Frun%2Fpg:5/d", "psycopg2", "postgresql+psycopg2://u@/d?host=%2Frun%2Fpg&port=5"),
        ("postgresql://u@h1:1,h2:2/d", "jdbc", "jdbc:postgresql://h1:1,h2:2/d?user=u"),
        ("postgresql://u@[::1]:5/d", "asyncpg", "postgresql+asyncpg://u@[::1]:5/d"),
    ],
)  # fmt: skip
def test_a_url_is_spelled_for_a_driver(url, driver, spelled):
    assert spelled == urls.for_driver(url, driver)


@pytest.mark.parametrize(
    ("url", "host", "query"),
    [
        ("postgresql://u:p%2B%40@h1:1,h2:2/d?a=b+c", None, {"host": ("h1:1", "h2:2"), "a": "b+c"}),
        ("postgresql://u:p%2B%40@%2Frun/d", None, {"host": "/run"}),
        ("postgresql://u:p%2B%40@[::1]:5/d", "::1", {}),
    ],
)  # fmt: skip
def test_sqlalchemy_reads_the_same_in_it(url, host, query):
    """
    SQLAlchemy's own parser finds what libpq's finds in the plain URL.
    """
    found = make_url(urls.for_driver(url, "psycopg"))

    assert (host, query, "u", "p+@", "d") == (
        found.host,
        dict(found.query),
        found.username,
        found.password,
        found.database,
    )


@pytest.mark.parametrize(
    ("url", "driver", "words"),
    [
        ("postgresql://h/d", "psycopg3", "'psycopg3' is not one of asyncpg, jdbc"),
        ("postgresql://h/d", "", "'' is not one of"),
        ("postgresql://u:s3cret@h/d?sslrootcert=/c", "asyncpg", "asyncpg takes no sslrootcert"),
        ("postgresql://u:s3cret@h/d?sslmode=require", "pg8000", "pg8000 takes no sslmode from"),
        ("postgresql://oxy@/d?host=%2Frun", "jdbc", "jdbc takes no host from"),
        ("postgresql://h/d?s3cRET=1", "asyncpg", "asyncpg takes no *** from"),
    ],
)  # fmt: skip
def test_what_a_driver_would_refuse_is_named(url, driver, words):
    with pytest.raises(oxy_pg.ConfigurationError) as caught:
        urls.for_driver(url, driver)

    assert words in str(caught.value)
    assert "s3c" not in str(caught.value)
