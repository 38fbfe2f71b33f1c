"""``python -m tests.docs.reference`` writes docs/reference/."""

from tests.docs import reference

reference.write()
