"""`python manage.py post`: add a post and count them."""

from django.core.management.base import BaseCommand
from django.db import connection

from blog.models import Post


class Command(BaseCommand):
    """Add a post and count them."""

    def handle(self, *_: object, **__: object) -> None:
        """Do it."""
        Post.objects.create(title="Hello")
        self.stdout.write(f"{connection.settings_dict['NAME']}: {Post.objects.count()} post(s)")
