from pathlib import Path

import psycopg.conninfo

import oxy_pg

BASE_DIR = Path(__file__).parent
SECRET_KEY = "for development only"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# In production OXY_DATABASE_URL is set, and ensure() returns that URL.
_url = psycopg.conninfo.conninfo_to_dict(oxy_pg.ensure())

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.pop("dbname"),
        "USER": _url.pop("user"),
        "PASSWORD": _url.pop("password", ""),
        "HOST": _url.pop("host"),
        "PORT": _url.pop("port", ""),
        "OPTIONS": _url,  # the rest, such as sslmode
    }
}
