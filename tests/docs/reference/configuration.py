"""docs/reference/configuration.md: keys, environment variables and options, read from the code."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import click

import oxy_pg
from oxy_pg import _defaults, facts, project
from oxy_pg.pytest_plugin import options as plugin
from oxy_pg.server.cluster import config
from oxy_pg.server.supervisor import launcher
from tests.docs.reference import cli
from tests.docs.reference.markdown import marked, table

PACKAGE = Path(oxy_pg.__file__).parent

HEAD = """# Configuration

Nothing has to be configured. What is given in more than one place is taken from the first of these:

1. an argument in Python, or an option of the command;
2. an environment variable;
3. `[tool.oxy-pg]` in the nearest `pyproject.toml` that has this table: in the working directory or
   above it;
4. the default.

`oxy-pg status` shows where each value comes from.
"""

# What each key means, in words; keys, variables, arguments and defaults are read from the code.
KEYS = {
    "database": ("the database, created if it does not exist", f"`{facts.DATABASE}`"),
    "extensions": ("extensions that are created in it, such as `vector`", "none"),
    "settings": ("PostgreSQL's settings; [server](../server.md#settings) lists who wins", "below"),
    "port": ("the TCP port on 127.0.0.1", "the previous one if it is free, else any"),
    "keep-alive": (
        "seconds that the server stays up when it is no longer in use; `inf`: until it is stopped",
        f"{launcher._KEEP_ALIVE:g}",
    ),
    "state-dir": (
        "the directory of the data; in `pyproject.toml` relative to that file",
        (
            "the user's data directory for `oxy`: `~/.local/share/oxy` on Linux, "
            "`~/Library/Application Support/oxy` on macOS"
        ),
    ),
}
SPELLED = {
    "database": '`"shop"`',
    "extensions": '`["vector"]`; in the variable `vector, hstore`',
    "settings": '`{ work_mem = "64MB" }`; in the variable `work_mem=64MB, jit=off`',
    "port": "`15432`",
    "keep-alive": '`60` or `"inf"`',
    "state-dir": '`".postgres"`',
}
# Variables that have no key: what they mean, and their default.
VARIABLES = {
    "OXY_DATABASE_URL": (
        "the URL of a server to use instead; no embedded server is started",
        "none: the embedded server",
    ),
    "OXY_DATABASE_URL_NAME": (
        (
            'the URL for `ensure("name")` alone; the name in capitals, with `_` for what is '
            "neither a letter nor a digit"
        ),
        "`OXY_DATABASE_URL`",
    ),
    "OXY_PG_EMBEDDED": (
        "`never`: to start an embedded server is an error, for production and CI; `allow`",
        "`allow`",
    ),
    "OXY_PG_BIN_DIR": (
        "the `bin` directory of another PostgreSQL 16",
        "the newest PostgreSQL 16 among those added, the installed packages and the system's",
    ),
    "OXY_PG_BINARIES_DIR": (
        "the directory of what `oxy-pg binaries add` adds",
        "`oxy_pg/binaries` in the user's data directory; for root `/var/lib/oxy_pg/binaries`",
    ),
    "OXY_PG_PYTHON": (
        (
            "the Python for oxy_pg's own processes, where `sys.executable` is none: the full path "
            "of a Python 3.11 or newer that can import oxy_pg"
        ),
        "the one that runs the program",
    ),
    "OXY_PG_CACHE_DIR": (
        "the directory of what can be created again: templates of clusters and of test databases",
        "the user's cache directory for `oxy_pg`: `~/.cache/oxy_pg` on Linux",
    ),
    "OXY_PG_TEMP_DIR": (
        (
            "the directory of temporary servers: those of `temporary()`, of the pytest plugin, and "
            "of what tries out a backup"
        ),
        (
            "`TMPDIR`; if that is not set, [in memory where there is room]"
            "(../server.md#temporary-servers), else `/tmp`"
        ),
    ),
}
# Set by oxy_pg for the programs that it starts; not for people.
INTERNAL = {"OXY_PG_RUN_STATE_DIR"}
# Read, and not oxy_pg's own.
OTHERS = {
    "DATABASE_URL": "not read: where it is set alone, a warning says that oxy_pg ignores it",
    "XDG_DATA_HOME, XDG_CACHE_HOME, XDG_STATE_HOME": "the user's directories on Linux",
    "NO_COLOR, TERM, COLUMNS": "how the command line prints",
}


def page() -> str:
    """Return the page."""
    sections = (_keys, _variables, _postgresql, _commands, _pytest)
    return "\n".join([HEAD, *(section() for section in sections)])


# --- keys ---


def _keys() -> str:
    arguments = inspect.signature(oxy_pg.ensure).parameters
    rows, meanings = [], []
    for key in sorted(_defaults.VARIABLES, key=list(KEYS).index):
        meaning, default = KEYS[key]
        argument = key.replace("-", "_")
        assert argument in arguments
        option = _option_of(key)
        names = f"`{argument}=`" + (f", `{option}`" if option else "")
        rows.append((f"`{key}`", f"`{_defaults.VARIABLES[key]}`", names, default))
        meanings.append((f"`{key}`", meaning, SPELLED[key]))
    assert {row[0].strip("`") for row in rows} == set(project.KEYS)
    return f"""## Keys and their variables

{table(("key of `[tool.oxy-pg]`", "variable", "argument, option", "default"), rows)}
{table(("key", "meaning", "value"), meanings)}
**`pyproject.toml`**

```toml file=pyproject.toml
[tool.oxy-pg]
database = "shop"
extensions = ["vector"]
settings = {{ work_mem = "64MB" }}
port = 15432
keep-alive = "inf"
state-dir = ".postgres"
```

A project's file may not give settings that run a command, load a library, or name a file or an
address: those are for `settings=` in a program.
"""


def _option_of(key: str) -> str | None:
    """Return the option of the commands that is called like a key."""
    for _, command in cli.commands():
        for parameter in command.params:
            if f"--{key}" in parameter.opts:
                return f"--{key}"
    return None


# --- variables ---


def variables_in_the_code() -> dict[str, list[str]]:
    """Return every variable of oxy_pg that the code names, and the modules that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for name in [node.value] if re.fullmatch(r"OXY_[A-Z_]+", node.value) else []:
                    places = found.setdefault(name, [])
                    place = str(path.relative_to(PACKAGE.parent))
                    if place not in places:
                        places.append(place)
    return found


def _variables() -> str:
    found = variables_in_the_code()
    rows = []
    for name, (meaning, default) in VARIABLES.items():
        places = found.get(name) or found["OXY_DATABASE_URL"]
        rows.append((f"`{name}`", meaning, default, f"`{places[0]}`"))
    others = [
        (", ".join(f"`{one}`" for one in name.split(", ")), what) for name, what in OTHERS.items()
    ]
    return f"""## Other environment variables

{table(("variable", "meaning", "default", "read in"), rows)}
An empty `OXY_DATABASE_URL` is an error and does not count as unset: it is usually a secret that was
not delivered. `oxy-pg run` sets `OXY_DATABASE_URL`, `DATABASE_URL`, `PGHOST`, `PGPORT`, `PGUSER`,
`PGPASSWORD` and `PGDATABASE` for its command.

{table(("of other programs", "what oxy_pg does with it"), others)}"""


# --- PostgreSQL's settings ---

# What the size of the machine decides.
_SCALED = {
    "shared_buffers": "256MB, or an eighth of the memory if that is less",
    "work_mem": "16MB, or less on a machine with less than 2 GB",
    "maintenance_work_mem": "64MB, or less on a machine with less than 2 GB",
    "effective_cache_size": "half of the memory",
    "dynamic_shared_memory_type": "`posix`; `mmap` where `/dev/shm` is small",
    "effective_io_concurrency": "200; not set on macOS",
    "client_connection_check_interval": "1s; 0 on macOS",
}


def _postgresql() -> str:
    rows = [
        (f"`{name}`", _SCALED.get(name) or f"`{value or repr(value)}`")
        for name, value in config.defaults().items()
    ]
    managed = [(f"`{name}`", why) for name, why in config.MANAGED.items()]
    return f"""## Settings of the embedded server

What differs from PostgreSQL's own defaults; `settings=` and `ALTER SYSTEM` override it:

{table(("setting", "value"), rows)}
These are managed by oxy_pg, and cannot be given:

{table(("setting", "why"), managed)}"""


# --- options ---


def _commands() -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    for name, command in cli.commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                key = (_spelled(parameter), _default(command, parameter))
                rows.setdefault(key, []).append(name)
    listed = [
        (f"`{spelled}`", default, ", ".join(f"`{name}`" for name in names))
        for (spelled, default), names in sorted(rows.items(), key=lambda row: row[0][0].lstrip("-"))
    ]
    return f"""## Options of the commands

{table(("option", "default", "commands"), listed)}
[Command line](cli.md) says what each of them means.
"""


def _spelled(option: click.Option) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=len)
    metavar = option.make_metavar(click.Context(click.Command("oxy-pg")))
    if option.metavar is None and isinstance(option.type, click.IntRange):
        metavar = "N"
    return ", ".join(names) + ("" if option.is_flag else f" {metavar}")


def _default(command: click.Command, option: click.Option) -> str:
    if option.is_flag or option.required:
        return "required" if option.required else "off"
    default = option.get_default(click.Context(command), call=False)
    if default is None or str(default).startswith("Sentinel") or callable(default) or default == ():
        told = re.search(r"\(default: ([^)]*)\)|\[default: ([^\]]*)\]", option.help or "")
        return marked(told[1] or told[2]) if told else "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


# --- pytest ---


class _Parser:
    """Collects what the plugin adds, as pytest's parser does."""

    def __init__(self) -> None:
        self.options: list[tuple[str, str]] = []
        self.keys: list[tuple[str, str, str]] = []

    def getgroup(self, *_: object) -> _Parser:
        return self

    def addoption(self, name: str, **given: Any) -> None:
        takes = given.get("metavar") or "|".join(given.get("choices", ()))
        self.options.append((f"`{name} {takes}".rstrip() + "`", marked(given["help"])))

    def addini(self, name: str, text: str, *_: object, default: object = None) -> None:
        self.keys.append((f"`{name}`", marked(text), f"`{default}`".lower() if default else "none"))


def _pytest() -> str:
    parser: Any = _Parser()
    plugin.pytest_addoption(parser)
    return f"""## pytest

Options on pytest's command line:

{table(("option", "meaning"), parser.options)}
Keys of `[tool.pytest.ini_options]` in `pyproject.toml`, or of `pytest.ini`; the command line takes
precedence:

{table(("key", "meaning", "default"), parser.keys)}"""
