import pytest
from django.test import Client
from shop.models import Item


@pytest.mark.django_db
def test_items(client: Client) -> None:
    Item.objects.create(name="a chair")
    assert client.get("/items").json() == {"items": ["a chair"]}
