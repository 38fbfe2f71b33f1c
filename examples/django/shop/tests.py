from django.test import TestCase

from shop.models import Item


class ItemTest(TestCase):
    def test_items(self) -> None:
        Item.objects.create(name="a chair")
        self.assertEqual(self.client.get("/items").json(), {"items": ["a chair"]})
