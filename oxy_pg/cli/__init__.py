"""
The command ``oxy-pg``; the only code that prints.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 a
typed error (one message, no traceback), 2 wrong usage, 130 interrupted.

Nothing is imported here: ``quick.py`` answers before click is loaded.
"""
