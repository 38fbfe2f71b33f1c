"""The server that the applications are moved to."""

from __future__ import annotations

import pytest

import oxy_pg


@pytest.fixture(scope="module")
def server(base_dir):
    with oxy_pg.temporary() as running:
        yield running
