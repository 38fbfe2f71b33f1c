"""Names and numbers that more than one wing has to agree on, each spelled once."""

from __future__ import annotations

__version__ = "0.1.0"  # of this package

# The role of the URLs that are handed out, which owns its databases, and the database of that name.
ROLE = "oxy"
DATABASE = "oxy"
# The superuser of the embedded server: through the private socket alone.
SUPERUSER = "postgres"
# The database that administration connects to.
MAINTENANCE_DATABASE = "postgres"
# The major version that is embedded.
MAJOR = 16
# The oldest major version that external servers may have: the oldest that was still maintained by
# its makers when this was written.
OLDEST_MAJOR = 14
