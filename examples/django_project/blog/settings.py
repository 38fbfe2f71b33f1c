"""Settings: the project's own database, by hand and under `oxy-pg run`."""

from urllib.parse import unquote, urlsplit

import oxy_pg

url = urlsplit(oxy_pg.ensure())
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.removeprefix("/")),
        "USER": url.username,
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port,
    }
}
INSTALLED_APPS = ["blog"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
