import os

# `oxy-pg run` and `oxy-pg migrate-sqlite --prepare` set PGDATABASE, and the other variables of
# libpq, which psycopg reads by itself.
if "PGDATABASE" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
        }
    }
