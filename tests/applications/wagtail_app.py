"""Wagtail, in a project of its own: ``make`` fills its database, ``use`` reads it and writes."""

from __future__ import annotations

import os
import sys

import django

sys.path.insert(0, os.getcwd())
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings.dev")
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from home.models import HomePage  # noqa: E402


def add(title):
    page = HomePage(title=title, slug=title.lower())
    HomePage.objects.get(depth=2).add_child(instance=page)
    page.save_revision().publish()
    return page


def make():
    User.objects.create_superuser("ada", "ada@example.org", "secret")
    for number in range(5):
        add(f"Page-{number}")
    Group.objects.create(name="Writers").user_set.add(User.objects.get())


def use():
    user = User.objects.get()
    print(user.check_password("secret"), user.groups.get().name, Permission.objects.count())
    print(sorted(page.title for page in HomePage.objects.all()), user.date_joined.isoformat())
    page = add("New")
    Group.objects.create(name="Readers").permissions.set(Permission.objects.all()[:3])
    print(page.pk, HomePage.objects.count(), page.get_latest_revision().pk)


if __name__ == "__main__":
    {"make": make, "use": use}[sys.argv[1]]()
