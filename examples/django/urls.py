from django.http import HttpRequest, JsonResponse
from django.urls import path
from shop.models import Item


def items(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"items": list(Item.objects.values_list("name", flat=True))})


urlpatterns = [path("items", items)]
