"""``oxy-pg tune``: what it proposes is what PostgreSQL takes, and nothing is changed unasked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg import paths
from oxy_pg.server import tuning
from oxy_pg.server.cluster import account, binaries
from oxy_pg.system import machine, process
from oxy_pg.system.machine import Machine
from tests.server.monitor.test_status import Terminal

_MB, _GB = 2**20, 2**30
MACHINES = [
    Machine(256 * _MB, 1),
    Machine(512 * _MB, 1, "hdd"),
    Machine(2 * _GB, 2, None),
    Machine(8 * _GB, 4),
    Machine(16 * _GB, 8, "hdd"),
    Machine(64 * _GB, 16),
    Machine(200 * _GB, 48),
    Machine(512 * _GB, 128),
]
CONNECTIONS = [10, 100, 2000]


def proposed(on, version=16, *, dedicated=True, connections=100):
    server = tuning.Server(version, linux=True, dedicated=dedicated, max_connections=connections)
    return {one.name: one.value for one in tuning.propose(on, server)}


# --- the rules ---


def test_the_guides_table_is_where_it_begins():
    """
    An embedded server on a machine with 2 GB gets the values of Oxy's migration guide.
    """
    found = proposed(Machine(2 * _GB, 2), dedicated=False)

    table = {
        "shared_buffers": "256MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "64MB",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "max_connections": "100",
    }
    assert table.items() <= found.items()


@pytest.mark.parametrize(
    ("on", "options", "expected"),
    [
        (Machine(16 * _GB, 8), {}, {"shared_buffers": "4GB", "effective_cache_size": "12GB"}),
        (Machine(16 * _GB, 8), {"dedicated": False}, {"shared_buffers": "2GB"}),
        (Machine(256 * _MB, 1), {}, {"shared_buffers": "64MB", "work_mem": "4MB"}),
        (Machine(256 * _MB, 1), {}, {"max_parallel_workers_per_gather": "0"}),
        (Machine(16 * _GB, 8, "hdd"), {}, {"random_page_cost": "4"}),
        (Machine(16 * _GB, 8, "hdd"), {}, {"effective_io_concurrency": "2"}),
        (Machine(16 * _GB, 8, "hdd"), {"version": 18}, {"effective_io_concurrency": "16"}),
        (Machine(16 * _GB, 8, None), {}, {"random_page_cost": "1.1"}),
        (Machine(16 * _GB, 8), {"connections": 1000}, {"work_mem": "4MB"}),
        (Machine(512 * _GB, 128), {}, {"work_mem": "256MB", "max_worker_processes": "128"}),
        (Machine(512 * _GB, 128), {"version": 18}, {"io_workers": "32"}),
    ],
)
def test_rule(on, options, expected):
    """
    A machine, what is asked of it, and what follows.
    """
    assert expected.items() <= proposed(on, **options).items()


def test_every_value_has_its_reason():
    """
    A rule, and the chapter of the manual that it comes from.
    """
    for one in tuning.propose(MACHINES[0], tuning.Server(18, True, True, 100)):
        assert len(one.why) > 10
        assert one.source.startswith("PostgreSQL 1")


@pytest.mark.parametrize("dedicated", [True, False])
def test_memory_is_not_given_away_twice(dedicated):
    """
    Whatever the machine: every connection may sort at once, beside shared_buffers, if the rule
    and not the least value decides.
    """
    for on in MACHINES:
        for connections in CONNECTIONS:
            found = proposed(on, dedicated=dedicated, connections=connections)
            work = tuning._number(found["work_mem"])
            if work > 16 * _MB:
                taken = tuning._number(found["shared_buffers"]) + connections * work
                assert taken <= on.memory * (1 if dedicated else 0.5)


# --- PostgreSQL takes them ---


def refused(bin_dir, data_dir, settings):
    """What a server says to settings, reading them as a start does; "" if it takes them."""
    user = account.account_for(paths.StateDir(os.path.dirname(data_dir)))
    done = subprocess.run(
        [f"{bin_dir}/postgres", "-D", data_dir, "-C", "shared_buffers"]
        + [f"-c{name}={value}" for name, value in settings.items()],
        env=process.environment(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **user.popen_arguments(),
    )
    return "" if done.returncode == 0 else done.stderr or "refused"


def test_16_takes_them(server):
    """
    PostgreSQL 16 reads every proposal as a start does, and refuses what is out of its range.
    """
    data_dir = os.path.realpath(server.status().data_dir)
    bin_dir = binaries.find().bin_dir
    assert "outside the valid range" in refused(bin_dir, data_dir, {"work_mem": "1kB"})

    for on in MACHINES:
        for connections in CONNECTIONS:
            for dedicated in (True, False):
                values = proposed(on, dedicated=dedicated, connections=connections)
                assert "" == refused(bin_dir, data_dir, values)


@pytest.mark.parametrize("on", MACHINES, ids=repr)
def test_16_starts_with_them(on):
    """
    A server starts with what is proposed to the embedded one, and has these values.

    What needs more memory than this machine has can only be read, not started (above).
    """
    values = proposed(on, dedicated=False)
    if on.memory > machine.memory():
        del values["shared_buffers"]

    with (
        oxy_pg.temporary(settings=values) as server,
        psycopg.connect(server.superuser_url()) as connection,
    ):
        compared = tuning.compare(connection, on, dedicated=False, connections=100)

    assert {one.name for one in compared if one.differs} <= {"shared_buffers"} - set(values)


@pytest.mark.parametrize("name", ["debian_15", "postgresql_18"])
def test_another_version_starts_with_what_psql_was_given(name, request, cli):
    """
    ``--sql`` runs in that server's own psql; after a restart nothing is left to propose.
    """
    other = request.getfixturevalue(name)
    for on in MACHINES:
        for connections in CONNECTIONS:
            version = 15 if name == "debian_15" else 18
            values = proposed(on, version, connections=connections)
            assert "" == refused(other.bin_dir, str(other.data_dir), values)
    url = other.new_database()
    asked = ("tune", "--memory", "1GB", "--cpus", "2", "--disk", "hdd", "--connections", "50")
    try:
        done = cli(*asked, "--sql", OXY_DATABASE_URL=url)
        assert "superuser" in done.stderr  # the role is none
        as_superuser(other, done.stdout)
        other.stop()
        other.start()

        left = cli(*asked, "--json", OXY_DATABASE_URL=url)
    finally:
        as_superuser(other, "ALTER SYSTEM RESET ALL;")
        other.stop()
        other.start()

    settings = {one["name"]: one for one in json.loads(left.stdout)["settings"]}
    assert [] == [one for one in settings.values() if one["differs"]]
    assert "256MB" == settings["shared_buffers"]["current"]
    assert "50" == settings["max_connections"]["current"]
    assert ("io_workers" in settings) == (name == "postgresql_18")


def as_superuser(server, statements):
    place = ("-h", server.home, "-p", str(server.port), "-U", "postgres", "-d", "postgres")
    subprocess.run(
        [server.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *place],
        input=statements,
        text=True,
        check=True,
        capture_output=True,
    )


# --- the command ---


def test_nothing_is_changed_by_looking(cli, server, state_dir):
    """
    The table, the JSON and the SQL say the same, and the server is as it was.
    """
    known = cli("tune", "--json", "--memory", "8GB", "--cpus", "4", OXY_STATE_DIR=state_dir)
    rows = {one["name"]: one for one in json.loads(known.stdout)["settings"]}
    text = cli("tune", "--memory", "8GB", "--cpus", "4", OXY_STATE_DIR=state_dir).stdout
    sql = cli("tune", "--memory", "8GB", "--cpus", "4", "--sql", OXY_STATE_DIR=state_dir).stdout

    row = rows["shared_buffers"]
    assert ("256MB", "1GB") == (row["current"], row["proposed"])
    assert row["restart"]
    assert "shared_buffers: 256MB -> 1GB (restart); an eighth of the memory" in text
    assert "random_page_cost: 1.1 -> fits" in text
    assert "ALTER SYSTEM SET shared_buffers = '1GB';  -- now 256MB; needs a restart\n" in sql
    assert "random_page_cost" not in sql
    with psycopg.connect(server.url()) as connection:
        assert ("256MB",) == connection.execute("SHOW shared_buffers").fetchone()
    assert not (state_dir / "settings.json").exists()


def test_on_a_terminal_it_fits(server, state_dir):
    """
    No line is longer than the terminal is wide; what changes is told from what fits.
    """
    arguments = ["tune", "--memory", "8GB", "--cpus", "4"]
    terminal = Terminal(arguments, 80, 24, OXY_STATE_DIR=str(state_dir))

    assert 0 == terminal.end()

    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.said)
    assert re.search(r"shared_buffers +256MB +-> +1GB +after a restart", shown)
    assert re.search(r"random_page_cost +1.1 +fits", shown)
    settings = shown[shown.index("shared_buffers") : shown.index("`oxy-pg tune")]
    assert max(map(len, settings.splitlines())) <= 80


def test_apply_keeps_them_and_restart_puts_all_into_force(cli, state_dir):
    """
    What a reload can is in force at once, the rest is named; all stays for later starts.
    """
    server = oxy_pg.Server(state_dir, settings={"seq_page_cost": "1.5"}, keep_alive=1)
    asked = ("tune", "--apply", "--memory", "8GB", "--cpus", "4")
    with server:
        done = cli(*asked, OXY_STATE_DIR=state_dir)
        assert 0 == done.returncode
        assert "shared_buffers = 1GB (after a restart)\n" in done.stdout
        assert "work_mem = 16MB" not in done.stdout  # it had that
        assert "`oxy-pg restart`" in done.stderr
        assert ["256MB", "256MB", "1.5"] == show(
            server, "shared_buffers", "maintenance_work_mem", "seq_page_cost"
        )

        done = cli(*asked, "--restart", OXY_STATE_DIR=state_dir)
        assert "shared_buffers = 1GB\n" in done.stdout
        assert ["1GB", "256MB", "1.5"] == show(
            server, "shared_buffers", "maintenance_work_mem", "seq_page_cost"
        )
    server.stop()

    assert ["1GB"] == show(oxy_pg.Server(state_dir, keep_alive=1), "shared_buffers")
    assert "already fit" in cli(*asked, OXY_STATE_DIR=state_dir).stderr


def show(server, *names):
    with psycopg.connect(server.superuser_url()) as connection:
        wanted = ", ".join(f"current_setting('{name}')" for name in names)
        return list(connection.execute(f"SELECT {wanted}").fetchone())


def test_what_alter_system_has_set_is_named(cli, server, state_dir):
    """
    It wins over ours, so the command does not say that it had changed it.
    """
    with psycopg.connect(server.superuser_url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET work_mem = '55MB'")
        connection.execute("SELECT pg_reload_conf()")
    server.restart()

    done = cli("tune", "--apply", "--memory", "4GB", "--cpus", "2", OXY_STATE_DIR=state_dir)

    assert 1 == done.returncode
    assert "work_mem was set with ALTER SYSTEM" in done.stderr
    assert "work_mem = " not in done.stdout.replace("maintenance_work_mem", "")
    assert "maintenance_work_mem = 128MB" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "16GB"], "--cpus"),
        (["--cpus", "2"], "--memory 16GB"),
        (["--memory", "much", "--cpus", "2"], "16GB or 512MB"),
        (["--memory", "1MB", "--cpus", "2"], "64MB"),
        (["--memory", "4GB", "--cpus", "0"], "0"),
        (["--memory", "4GB", "--cpus", "2", "--sql", "--json"], "one of"),
        (["--restart", "--memory", "4GB", "--cpus", "2"], "--apply"),
    ],
)
def test_what_is_missing_of_an_external_machine_is_asked_for(cli, arguments, words):
    """
    It is not this machine, so it is not guessed; exit code 2, before anybody connects.
    """
    done = cli("tune", *arguments, OXY_DATABASE_URL="postgresql://user:secret@127.0.0.1:1/db")

    assert 2 == done.returncode
    assert words in done.stderr
    assert "secret" not in done.stderr


def test_an_external_server_is_never_changed(cli):
    """
    --apply is for the embedded one alone.
    """
    done = cli("tune", "--apply", OXY_DATABASE_URL="postgresql://user:secret@127.0.0.1:1/db")

    assert 1 == done.returncode
    assert "env -u OXY_DATABASE_URL oxy-pg tune --apply" in done.stderr


# --- the machine ---


@pytest.mark.parametrize(
    ("files", "memory", "cpus"),
    [
        ({"proc": "0::/\n", "memory.max": "max", "cpu.max": "max 100000"}, None, None),
        ({"proc": "0::/\n", "memory.max": f"{_GB}", "cpu.max": "100000 100000"}, _GB, 1),
        ({"proc": "0::/a/b\n", "a/memory.max": "104857600"}, 100 * _MB, None),
        ({"proc": "0::/a\n", "memory.max": "104857600", "a/memory.max": "max"}, 100 * _MB, None),
        ({"proc": "0::/of/the/host\n", "memory.max": "104857600"}, 100 * _MB, None),
        ({"proc": "0::/a\n", "a/cpu.max": "50000 100000"}, None, 1),
        ({"proc": "4:memory:/a\n", "memory/a/memory.limit_in_bytes": "104857600"}, 100 * _MB, None),
        ({"proc": "4:memory:/\n", "memory/memory.limit_in_bytes": str(2**63 - 4096)}, None, None),
        (
            {
                "proc": "2:cpu,cpuacct:/a\n",
                "cpu,cpuacct/a/cpu.cfs_quota_us": "100000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            },
            None,
            1,
        ),
        (
            {
                "proc": "2:cpu:/\n",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            None,
            None,
        ),
        ({}, None, None),
    ],
)
def test_a_containers_limits_count(tmp_path, files, memory, cpus):
    """
    Both kinds of control groups, as a container and as a machine show them (cgroups(7)).
    """
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    places = (str(tmp_path / "proc"), str(tmp_path))

    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert (memory or physical) == machine.memory(*places)
    assert (cpus or len(os.sched_getaffinity(0))) == machine.cpus(*places)


def test_a_real_limit_is_seen():
    """
    A process in a control group with 300 MB has a machine with 300 MB.
    """
    group = control_group(300 * _MB)
    if group is None:
        pytest.skip("only root can make a control group, on a machine of its own")
    code = (
        f"open('{group}/cgroup.procs', 'w').write('0')\n"
        "from oxy_pg.system import machine; print(machine.memory())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    finally:
        group.rmdir()

    assert 300 * _MB == int(done.stdout)


def control_group(limit):
    """A group that may have so much memory, of either kind; None where we may not make one."""
    for top, name in (
        ("/sys/fs/cgroup", "memory.max"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ):
        group = Path(top) / f"oxy_pg-test-{os.getpid()}"
        try:
            if not (group.parent / "cgroup.procs").exists():
                continue
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(limit))
        except OSError:
            group.rmdir()
            continue
        return group
    return None


def test_fewer_cores_are_seen(run_python):
    """
    A process that may use one core of several has one.
    """
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "

    assert "1" == run_python(code + "from oxy_pg.system import machine; print(machine.cpus())")


@pytest.mark.skipif(not os.path.isdir("/sys/dev/block"), reason="Linux alone tells")
def test_the_disk_is_one_of_three(tmp_path):
    """
    ``ssd``, ``hdd``, or not known: in memory there is none. A path that is not there yet counts.
    """
    assert machine.disk(str(tmp_path / "not/yet")) in {"ssd", "hdd", None}
    assert machine.disk("/proc/self") is None
