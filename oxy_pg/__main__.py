"""``oxy-pg``, and ``python -m oxy_pg``: the same command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it with a word, also while it is imported."""
    try:
        from oxy_pg.cli import quick

        if quick.answer(sys.argv[1:]):
            return
        from oxy_pg.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
