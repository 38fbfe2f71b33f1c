"""
Django's command line: `python manage.py migrate`, then `python manage.py post`.

Or both with `oxy-pg run --` in front.
"""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "blog.settings")
execute_from_command_line(sys.argv)
