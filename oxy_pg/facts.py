"""Names and numbers that more than one wing has to agree on, each spelled once."""

from __future__ import annotations

__version__ = "0.1.0"  # of this package

# The role of the URLs that are handed out, which owns its databases, and the database of that name.
ROLE = "oxy"
DATABASE = "oxy"
# The superuser of the embedded server: through the private socket alone.
SUPERUSER = "postgres"
# Reads statistics and settings (pg_monitor), and nothing else: for status and doctor.
MONITOR = "oxy_monitor"
# Reads every row (pg_read_all_data), with the rights of the role oxy: for backup and push.
READER = "oxy_reader"
# The database that administration connects to.
MAINTENANCE_DATABASE = "postgres"
# How every part drops a database with its sessions; {} is the name as SQL spells it.
DROP_DATABASE = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
# How the names of the databases begin that hold snapshots.
SNAPSHOT = "_oxy_snapshot_"
# The keys of advisory locks (PostgreSQL 16 manual, 13.3.5); no two are equal.
SETUP_LOCK = 0x6F78795F7067  # "oxy_pg": creating the role, its password and a database
COPY_LOCK = 0x6F78795F70757368  # "oxy_push": copying into a database
TEST_LOCK_CLASS = 0x6F787970  # "oxyp", the first of two halves: a process with test databases
TEMPLATE_LOCK_CLASS = 0x6F787974  # "oxyt": who fills a template of test databases, or uses it
# The major version that is embedded.
MAJOR = 16
# The oldest major version that external servers may have: the oldest that was still maintained by
# its makers when this was written.
OLDEST_MAJOR = 14
