"""
How a typed program uses the public names; read by pyright in strict mode, never run.

``assert_type`` fails when a name has lost its type on the way to its users.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import assert_type

import oxy_pg

assert_type(oxy_pg.ensure(), str)
assert_type(
    oxy_pg.ensure(
        "shop",
        state_dir=Path("state"),
        settings={"work_mem": "64MB", "max_connections": 20, "jit": False},
        extensions=["vector"],
        keep_alive=math.inf,
        driver="asyncpg",
        timeout=5,
    ),
    str,
)

server = oxy_pg.Server("state", settings=None, keep_alive=1)
with server as same:
    assert_type(same, oxy_pg.Server)
    same.start(timeout=3)
    same.restart()
    same.stop(mode="smart")
    assert_type(same.url(), str)
    assert_type(same.socket_url("shop"), str)
    same.create_database("copy", template="shop")
    same.drop_database("copy")
    assert_type(same.databases(), list[str])
    same.destroy()

status = server.status()
assert_type(status, oxy_pg.Status)
assert_type(status.state, str)
assert_type(status.port, int | None)
assert_type([database.size_bytes for database in status.databases], list[int])

with oxy_pg.temporary(settings={"fsync": True}, extensions=("vector",)) as temporary:
    assert_type(temporary, oxy_pg.Server)

backup = oxy_pg.backup(Path("backups"), keep=7, plain=True, on_progress=lambda step: step.phase)
assert_type(backup, oxy_pg.BackupReport)
assert_type(backup.manifest, oxy_pg.Manifest)
assert_type([table.rows for table in backup.manifest.tables], list[int])
restored = oxy_pg.restore(backup.path, database="shop", keep_old=True, confirm=lambda _: True)
assert_type(restored, oxy_pg.RestoreReport)
assert_type(restored.kept_as, str | None)
assert_type(oxy_pg.check_backup(backup.path), oxy_pg.Manifest)
pushed = oxy_pg.push("postgresql://u@h/d", schemas=["public"], if_not_empty="replace", swap=True)
assert_type(pushed, oxy_pg.TransferReport)
assert_type(pushed.rows, int)
assert_type(oxy_pg.pull("postgresql://u@h/d", jobs=4, dry_run=True).problems, tuple[str, ...])
assert_type(oxy_pg.upgrade("state", old_bin_dir=Path("bin"), discard_old=True).kept, str | None)

try:
    oxy_pg.ensure()
except oxy_pg.BackupDamaged as error:
    assert_type(error.reason, str)
except oxy_pg.StartFailed as error:
    assert_type(error.log_tail, str)
except oxy_pg.LockTimeout as error:
    assert_type(error.timeout, float)
except oxy_pg.OxyPgError as error:
    assert_type(error, oxy_pg.OxyPgError)
