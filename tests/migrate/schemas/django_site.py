"""
A Django project with its own apps and one more: ``django_site.py DATABASE COMMAND…``.

DATABASE is a file of SQLite or a URL of PostgreSQL. Commands are Django's, and
``fill``, which makes some data.
"""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.core.management import execute_from_command_line


def database(place):
    if not place.startswith("postgresql:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place}
    url = urlsplit(place)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path[1:],
        "USER": url.username,
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port,
    }


def fill():
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.sessions.backends.db import SessionStore

    from tests.migrate.schemas.shop.models import Order, Tag

    ada = User.objects.create_superuser("ada", "ada@example.org", "secret")
    bob = User.objects.create_user("bob", last_login=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC))
    group = Group.objects.create(name="Writers")
    group.permissions.set(Permission.objects.all()[:5])
    ada.groups.add(group)
    bob.user_permissions.set(Permission.objects.all()[3:6])
    order_type = ContentType.objects.get_for_model(Order)
    LogEntry.objects.create(
        user=ada, content_type=order_type, object_id="1", object_repr="ü", action_flag=1
    )
    session = SessionStore()
    session["cart"] = {"items": [1, 2]}
    session.create()
    tags = [Tag.objects.create(name="a"), Tag.objects.create(name="")]
    tags.append(Tag.objects.create(name="child of the empty one", parent=tags[1]))
    Tag.objects.create(name="gone").delete()  # its number is not given again
    before = None
    for number, took in enumerate(
        (timedelta(0), timedelta(days=-1, microseconds=1), timedelta(days=400, seconds=5.000007))
    ):
        before = Order.objects.create(
            id=uuid.UUID(int=2**127 + number),
            token=uuid.uuid4() if number else None,
            customer=(ada, bob)[number % 2],
            before=before,
            took=took,
            price=Decimal("0.100") * 3 + number,
            rate=(0.1 + 0.2, None, 1e300)[number],
            meta=({}, {"b": [1.5, None, True], "a": "ü"}, [])[number],
            raw=(None, b"", bytes(range(256)))[number],
            address=(None, "192.168.0.1", "2001:db8::1")[number],
            is_paid=(None, False, True)[number],
            at=datetime(2024, 2, 29, 12, 30, 15, 123456 * number, tzinfo=UTC),
            day=(None, date(1, 1, 1), date(2024, 2, 29))[number],
            clock=(None, time(0, 0), time(23, 59, 59, 999999))[number],
            number=(0, -(2**63), 2**63 - 1)[number],
            small=number,
            note=("", "\U0001f680\n", "it's")[number],
        )
        before.tags.set(tags[: number + 1])


if __name__ == "__main__":
    place, *command = sys.argv[1:]
    settings.configure(
        DATABASES={"default": database(place)},
        INSTALLED_APPS=[
            *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "messages")),
            "django.contrib.sessions",
            "tests.migrate.schemas.shop",
        ],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        SILENCED_SYSTEM_CHECKS=["admin.E403", "admin.E408", "admin.E409", "admin.E410"],
        SECRET_KEY="of tests",
        USE_TZ=True,
    )
    django.setup()
    if command == ["fill"]:
        fill()
    else:
        execute_from_command_line(["manage.py", *command])
