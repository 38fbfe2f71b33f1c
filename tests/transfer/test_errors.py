"""The errors of transfers: public by name, and pickled with all that they hold."""

from __future__ import annotations

import pickle

import pytest

import oxy_pg
from oxy_pg import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.ToolsNotFound(18, ("/usr/bin: 15.4, older than 18",), ssl=True),
        errors.ToolFailed("pg_dump", "pg_dump: error: no", 1, shortened=True),
        errors.TransferRefused("restore x", "no", "Ask."),
        errors.BackupExists("x.dump"),
        errors.NotABackup("x.dump", "it is a picture"),
        errors.BackupDamaged("x.dump", "it is empty"),
        errors.BackupTooNew("x.dump", "PostgreSQL 18.4", "PostgreSQL 16.2"),
        errors.CountsDiffer(("public.t: 1 instead of 2",)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle(error):
    """
    With all that they hold; and they are TransferErrors, public by name.
    """
    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(copy, errors.TransferError)
    assert (str(error), vars(error)) == (str(copy), vars(copy))
    assert getattr(oxy_pg, type(error).__name__) is type(error)
