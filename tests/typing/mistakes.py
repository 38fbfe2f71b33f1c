"""
What a type checker has to find; read by mypy and by pyright in strict mode, never run.

Both report an ignore comment that has nothing to ignore, so each line fails if it is accepted.
"""
# mypy: enable-error-code="arg-type"

from __future__ import annotations

import oxy_pg
from oxy_pg import nonsense  # type: ignore[attr-defined]

oxy_pg.more_nonsense()  # type: ignore[attr-defined]
oxy_pg.ensure(stat_dir="state")  # type: ignore[call-arg]
oxy_pg.ensure(settings=["work_mem"])  # type: ignore[arg-type]
oxy_pg.ensure(driver="psycopg3")  # type: ignore[arg-type]
oxy_pg.backup("b.dump", keep="7")  # type: ignore[arg-type]
oxy_pg.Server("state").backup("b.dump", kep=7)  # type: ignore[call-arg]
oxy_pg.push("postgresql://h/d", if_not_empty="append")  # type: ignore[arg-type]

__all__ = ["nonsense"]
