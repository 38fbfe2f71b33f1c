"""The table of posts."""

from django.db import models


class Post(models.Model):
    """One post."""

    title = models.TextField()

    def __str__(self) -> str:
        return self.title
