"""A template that one worker could not fill: told to the others, which do not try it again."""

from __future__ import annotations

import contextlib
import os
import tempfile

from oxy_pg import paths
from oxy_pg.system import files, private
from oxy_pg.system.deadline import wall_clock

_ABANDONED_AFTER = 24 * 3600.0  # seconds


class TemplateFailed(Exception):
    """Another worker of this session could not fill a template; the argument is its report."""


class Failures:
    """The failures of one session, in a directory that its workers share."""

    def __init__(self, run: str, worker: str) -> None:
        """Take part in the session ``run`` as one ``worker``; "" where there are no others."""
        self._directory = f"{_base()}/{_PREFIX}{run}"
        self._worker = worker

    def tell(self, template: str, reason: str) -> None:
        """Tell the other workers why a template could not be filled."""
        if not self._worker:
            return
        for directory in (_base(), self._directory):
            os.close(private.make_directory(directory))
        text = f"{self._worker} has filled the template for all workers, and failed:\n\n{reason}"
        files.write_text(f"{self._directory}/{template}", text, sync=False)

    def check(self, template: str) -> None:
        """Raise TemplateFailed where another worker has told of this template."""
        if self._worker:
            text = files.read_text(f"{self._directory}/{template}", 1 << 20)
            if text is not None:
                raise TemplateFailed(text)


_PREFIX = "failures-"


def _base() -> str:
    return paths.private_temp_dir(os.path.realpath(tempfile.gettempdir()))


def forget(run: str) -> None:
    """Remove what a session has told, and what killed ones have left."""
    base = _base()
    with contextlib.suppress(OSError):
        for name in os.listdir(base):
            path = f"{base}/{name}"
            if name == f"{_PREFIX}{run}" or (
                name.startswith(_PREFIX)
                and os.stat(path).st_mtime < wall_clock() - _ABANDONED_AFTER
            ):
                files.remove_tree(path)
