"""``prepare``: the application's own migrations, which bring the target's schema up first."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, TypeAlias

from oxy_pg.errors import OxyPgError, PreparationFailed
from oxy_pg.url import mask_text

if TYPE_CHECKING:
    from collections.abc import Callable

Prepare: TypeAlias = "Callable[[str], object] | str"


def prepare(how: Prepare, url: str) -> None:
    """
    Call a function with the URL, or run a shell command that finds it in OXY_DATABASE_URL.

    Raises PreparationFailed.
    """
    if callable(how):
        try:
            how(url)
        except OxyPgError:
            raise
        except Exception as error:
            message = mask_text(f"{type(error).__name__}: {error}", url)
            raise PreparationFailed("the `prepare` function", message) from error
        return
    environment = {**os.environ, "OXY_DATABASE_URL": url, "DATABASE_URL": url}
    done = subprocess.run(  # noqa: S602 - a shell command is what was asked for
        how, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = mask_text((done.stderr or done.stdout).strip(), url)[-2000:]
        raise PreparationFailed(f"`{how}`", f"exit code {done.returncode}:\n{tail}")
