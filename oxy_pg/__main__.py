"""``python -m oxy_pg``: the same as the command ``oxy-pg``."""

from oxy_pg.cli import main

if __name__ == "__main__":
    main()
