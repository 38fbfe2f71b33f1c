"""Which port the server gets: that of last time, so that URLs stay valid, or another one."""

from __future__ import annotations

from oxy_pg.system import cheap, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.paths import StateDir

# Below the range that systems hand out for outgoing connections (from 32768 on Linux), so that
# the port is likely to be free again next time.
_FIRST, _COUNT = 20000, 12000
_CANDIDATES, _STEP = 5, 37


def candidates(state: StateDir) -> list[int]:
    """Return the ports to try: that of last time, then some that depend on the place alone."""
    from oxy_pg import paths

    start = int(paths.digest(state.root), 16) % _COUNT
    ports = [_FIRST + (start + number * _STEP) % _COUNT for number in range(_CANDIDATES)]
    remembered = (files.read_text(state.port) or "").strip()
    if remembered.isdecimal() and 1024 <= int(remembered) <= 65535:
        ports.insert(0, int(remembered))
    return ports


def free(port: int) -> int:
    """Return the port that was asked for; PortTaken when another process listens on it."""
    from oxy_pg.errors import PortTaken

    try:
        _bind(port)
    except OSError as error:
        raise PortTaken(port, error.strerror or str(error), _listener(port)) from None
    return port


def _listener(port: int) -> str:
    """Say which process listens on a port, as far as we may see it."""
    import psutil

    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port:
                if found.pid is None:
                    break
                words = " ".join(psutil.Process(found.pid).cmdline()[:6])
                return f"process {found.pid}: {words[:200]}"
    except psutil.Error:
        pass
    return "a process of another user, or one that has just ended"


class Ports:
    """The ports that a supervisor tries in turn; the one that was had is kept in a file."""

    __slots__ = ("_any_port", "_candidates", "_file", "_known", "lost")

    def __init__(self, candidates: list[int], file: str, *, any_port: bool) -> None:
        """
        Try these, or the only one if not ``any_port`` will do.

        ``file`` is empty for a server that is started only once.
        """
        self._candidates = candidates
        self._file = file
        self._any_port = any_port
        # The one that clients know; whether another process has been found on it. Clients that
        # connect there may have shown it the password.
        self._known = candidates[0] if file and files.read_text(file) else 0
        self.lost = False

    def choose(self) -> int:
        """Return the first that is free, else any port that was free just now."""
        for port in self._candidates:
            if _is_free(port) or not self._any_port:
                return port
            self.lost = self.lost or port == self._known
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def avoid(self, port: int) -> None:
        """Do not try this one again: it was taken between the choice and the bind."""
        self.lost = self.lost or port == self._known
        if self._any_port:
            self._candidates = [other for other in self._candidates if other != port]

    def keep(self, port: int) -> None:
        """Use this one from now on, also after the next start."""
        self._candidates = [port]
        self._known = port
        self.lost = False
        if self._file:
            with cheap.suppress(OSError):  # a full disk: the next start finds another port
                if files.read_text(self._file) != f"{port}\n":
                    files.write_text(self._file, f"{port}\n", sync=False)


def _is_free(port: int) -> bool:
    try:
        _bind(port)
    except OSError:
        return False
    return True


def _bind(port: int) -> None:
    import socket  # no start waits for it that has a port of last time

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        probe.bind(("127.0.0.1", port))
