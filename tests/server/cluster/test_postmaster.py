"""The death signal, by which PostgreSQL learns on Linux that its supervisor was killed."""

from __future__ import annotations

import signal
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2)")
@pytest.mark.parametrize("how", ["_bare_prctl", "_full_prctl"])
def test_both_ways_of_asking_for_it_do_it(run_python, how):
    """
    Without all of ctypes, which a start would wait for; and with it, where that is not possible.
    """
    code = (
        "import signal, sys; from oxy_pg.server.cluster import postmaster\n"
        f"print(postmaster.{how}()(1, signal.SIGINT))\n"  # PR_SET_PDEATHSIG
        "print('ctypes' in sys.modules)\n"
        "import ctypes; found = ctypes.c_int()\n"
        "ctypes.CDLL(None).prctl(2, ctypes.byref(found)); print(found.value)"  # PR_GET_PDEATHSIG
    )

    done, with_ctypes, found = run_python(code).splitlines()

    assert ("0", str(signal.SIGINT.value)) == (done, found)
    assert str(how == "_full_prctl") == with_ctypes
