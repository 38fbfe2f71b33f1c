# ruff: noqa: DJ008 - no one looks at their names
"""One model with every field that Django keeps in another way in SQLite than in PostgreSQL."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Tag(models.Model):  # type: ignore[misc]
    name = models.CharField(max_length=40, unique=True)
    parent = models.ForeignKey("self", models.SET_NULL, null=True)


class Order(models.Model):  # type: ignore[misc]
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    token = models.UUIDField(unique=True, null=True)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    tags = models.ManyToManyField(Tag)
    before = models.OneToOneField("self", models.CASCADE, null=True)
    took = models.DurationField()
    price = models.DecimalField(max_digits=12, decimal_places=3)
    rate = models.FloatField(null=True)
    meta = models.JSONField(default=dict)
    raw = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)
    is_paid = models.BooleanField(null=True)
    at = models.DateTimeField()
    day = models.DateField(null=True)
    clock = models.TimeField(null=True)
    number = models.BigIntegerField(default=0)
    small = models.PositiveSmallIntegerField(default=0)
    note = models.TextField(blank=True, db_index=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(price__gte=0), name="price_is_positive"),
            models.UniqueConstraint(
                fields=["customer", "at"], condition=models.Q(is_paid=True), name="paid_once"
            ),
        )
