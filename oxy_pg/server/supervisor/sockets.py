"""
The sockets of a running server: made again where a program that cleans up has removed them.

A socket that has lost its name goes on listening, and can be reached by
another name of the same file. So PostgreSQL's has a second one in the state
directory: to make it anew, the server would have to restart.
"""

from __future__ import annotations

import os

from oxy_pg.system import cheap, files, private

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from oxy_pg.server.supervisor.order import Order


class Sockets:
    """Supervisor's control socket and PostgreSQL's, and the directories that they are in."""

    __slots__ = ("_mode", "_order", "_port")

    def __init__(self, order: Order) -> None:
        self._order = order
        self._port = 0
        # As root the server's user has to pass.
        self._mode = 0o711 if order.uid != os.geteuid() else 0o700

    def keep(self, port: int) -> None:
        """Give the socket of a server that is ready its second name; an OSError is no matter."""
        self.forget()
        self._port = port
        for name in self._order.socket_links:
            with cheap.suppress(OSError):  # another file system
                # Closed to others, as the first name's directory is: the socket itself is open to
                # all, and as root the directory above can be passed.
                os.mkdir(os.path.dirname(name), 0o700)
                os.link(self._server_socket, name)
                return

    def forget(self) -> None:
        """Remove the second name."""
        for name in self._order.socket_links:
            with cheap.suppress(OSError):
                os.unlink(name)
            with cheap.suppress(OSError):
                os.rmdir(os.path.dirname(name))

    @property
    def _server_socket(self) -> str:
        return f"{self._order.socket_dir}/.s.PGSQL.{self._port}"

    def is_server_reachable(self) -> bool:
        """Whether PostgreSQL's socket has its name."""
        return os.path.lexists(self._server_socket)

    def are_complete(self) -> bool:
        """Whether both have their names."""
        return os.path.lexists(self._order.control) and self.is_server_reachable()

    def restore(self) -> _socket.socket | None:
        """
        Give the sockets their names again; returns a control socket if it is a new one.

        PostgreSQL's stays missing where its second name has gone, too: then only a
        restart makes it. Raises NotPrivate or OSError.
        """
        order = self._order
        self._make_directories()
        made = None
        if not os.path.lexists(order.control):
            made = cheap.unix_socket()
            made.bind(order.control)
            made.listen(1024)
        for name in order.socket_links:
            with cheap.suppress(FileNotFoundError, FileExistsError):
                os.link(name, self._server_socket)
        return made

    def _make_directories(self) -> None:
        order = self._order
        for path in filter(None, (order.shared_dir, order.run_dir)):
            descriptor = private.make_directory(path, self._mode)
            files.set_mode(descriptor, self._mode, path)
            os.close(descriptor)
        # In that one no other user can put a link in its place.
        with cheap.suppress(FileExistsError):
            os.mkdir(order.socket_dir, 0o700)
            if order.uid != os.geteuid():
                os.chown(order.socket_dir, order.uid, order.gid)
