"""
Applications of PyPI: made on SQLite, moved, compared, and used on PostgreSQL.

OXY_PG_APPLICATIONS is the Python that has them (``nox -s applications`` makes it).
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import oxy_pg
from tests.applications.program import run
from tests.migrate.compare import differences, virtual_differences

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
PYTHON = os.environ.get("OXY_PG_APPLICATIONS", sys.executable)


class App(NamedTuple):
    """
    An application with SQLAlchemy: how it makes its schema, of which URL.

    ``seeds`` are the tables that it fills then; ``upgrade`` is its own migration
    command, and what that says when there is nothing to do.
    """

    start: str
    seeds: frozenset[str]
    upgrade: tuple[str, ...]
    said: str


APPS = {
    "optuna": App(
        "import os, optuna; optuna.storages.RDBStorage(os.environ['STORAGE'])",
        frozenset({"version_info"}),
        ("optuna", "storage", "upgrade", "--storage", "{url}"),
        "up-to-date",
    ),
    "mlflow": App(
        "import os; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore; "
        "SqlAlchemyStore(os.environ['STORAGE'], '/nowhere')",
        frozenset({"experiments", "workspaces"}),
        ("mlflow", "db", "upgrade", "{url}"),
        "",
    ),
    "jupyterhub": App(
        "import os; from jupyterhub import orm; orm.new_session_factory(os.environ['STORAGE'])",
        frozenset(),
        ("jupyterhub", "upgrade-db", "--JupyterHub.db_url={url}"),
        "",
    ),
}


@pytest.mark.parametrize("way", ["create", "prepare"])
@pytest.mark.parametrize("name", APPS)
def test_application_of_sqlalchemy(server, tmp_path, name, way):
    """
    Its own first start creates the schema; it reads the old rows, and writes new ones.
    """
    app = APPS[name]
    path, url = str(tmp_path / "app.db"), server.ensure_database(f"{name}_{way}")
    script = str(HERE / f"{name}_app.py")
    run(PYTHON, script, "make", f"sqlite:///{path}", folder=tmp_path)
    options = {}
    if way == "prepare":
        options = {
            "prepare": f"{shlex.quote(PYTHON)} -c {shlex.quote(app.start)}",
            "prepare_env": {"STORAGE": "{url:psycopg}"},
        }
        tried = oxy_pg.migrate_sqlite(path, url, dry_run=True, **options)
        assert () == tried.problems
        rehearsed = oxy_pg.migrate_sqlite(path, url, rehearse=True, **options)
    report = oxy_pg.migrate_sqlite(path, url, **options)
    assert [] == differences(path, url, tables=[table.name for table in report.tables])
    if way == "prepare":
        assert app.seeds == {one.table for one in report.seeds}
        assert tried.seeds == rehearsed.seeds == report.seeds
        assert rehearsed.rows == report.rows
    copy = shutil.copy(path, tmp_path / "copy.db")
    there = url.replace("postgresql://", "postgresql+psycopg://")
    here = run(PYTHON, script, "use", f"sqlite:///{copy}", folder=tmp_path)
    assert here == run(PYTHON, script, "use", there, folder=tmp_path)
    program, *words = (word.format(url=there) for word in app.upgrade)
    assert app.said in run(str(Path(PYTHON).parent / program), *words, folder=tmp_path)


SETTINGS = """
import os
if os.environ.get("PGHOST"):
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"], "PASSWORD": os.environ["PGPASSWORD"],
        "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
    }}
"""


def test_wagtail(server, tmp_path):
    """
    Django's content types and permissions, Wagtail's root page and site are seeds.

    Its search index has other columns in PostgreSQL; it is built anew by its own command.
    """
    folder, url = tmp_path / "site", server.ensure_database("wagtail")
    folder.mkdir()
    run(str(Path(PYTHON).parent / "wagtail"), "start", "mysite", str(folder))
    with open(folder / "mysite/settings/base.py", "a") as settings:
        settings.write(SETTINGS)
    manage = (PYTHON, str(folder / "manage.py"))
    script = (PYTHON, str(HERE / "wagtail_app.py"))
    run(*manage, "migrate", folder=folder)
    run(*script, "make", folder=folder)
    path = str(folder / "db.sqlite3")
    index = ["wagtailsearch_indexentry"]
    options = {"prepare": shlex.join([*manage, "migrate"]), "exclude": index}
    with pytest.raises(oxy_pg.SchemaMismatch, match=r"wagtailsearch_indexentry\.title_text"):
        oxy_pg.migrate_sqlite(path, url, prepare=options["prepare"], dry_run=True)
    tried = oxy_pg.migrate_sqlite(path, url, dry_run=True, **options)
    assert () == tried.problems
    report = oxy_pg.migrate_sqlite(path, url, verify="full", **options)
    assert {"auth_permission", "django_content_type", "wagtailcore_page"} < {
        one.table for one in report.seeds if one.action == "replaced"
    }
    assert tried.seeds == report.seeds
    # The index of full text is an ordinary table now; the comparator knows it by its module.
    moved = [table.name for table in report.tables if table.name != f"{index[0]}_fts"]
    assert [] == differences(path, url, tables=moved)
    assert [] == virtual_differences(path, url)
    assert "No migrations to apply" in run(*manage, "migrate", folder=folder, url=url)
    run(*manage, "update_index", folder=folder, url=url)
    there = run(*script, "use", folder=folder, url=url)
    assert there == run(*script, "use", folder=folder)
