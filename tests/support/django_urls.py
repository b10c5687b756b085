"""The views of the Django site for tests."""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse
from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from keybearer.guards import Rule
from keybearer.guards.django import guarded
from keybearer.guards.rest_framework import HasPermissions, KeybearerAuthentication
from tests.support.django_site import seen


def look(request: Any, **_: Any) -> JsonResponse:
    return JsonResponse(seen(request))


@guarded("pages:write")
def decorated(request: Any) -> JsonResponse:
    return JsonResponse(seen(request))


@guarded("pages:write")
async def decorated_async(request: Any) -> JsonResponse:
    return JsonResponse(seen(request))


class Rest(APIView):
    authentication_classes = [KeybearerAuthentication]
    permission_classes = [HasPermissions("pages:write")]

    def get(self, request: Any) -> Response:
        return Response({"caller": request.auth.credential_id, "user": str(request.user)})


TokensOnly = HasPermissions(Rule("pages:write", accept=["access_token"]))


class Joined(Rest):
    permission_classes = [AllowAny & TokensOnly]


class Chosen(Rest):
    permission_classes = [AllowAny]

    def get_permissions(self) -> list[Any]:
        return [TokensOnly()]


class Second(Rest):
    permission_classes = [HasPermissions("pages:write"), TokensOnly]


class Open(APIView):
    authentication_classes = [KeybearerAuthentication]

    def get(self, request: Any) -> Response:
        return Response({"caller": None if request.auth is None else request.auth.credential_id})


urlpatterns = [
    path("health", look),
    path("pages/<path:rest>", look),
    path("decorated/sync", decorated),
    path("decorated/async", decorated_async),
    path("rest/write", Rest.as_view()),
    path("rest/joined", Joined.as_view()),
    path("rest/chosen", Chosen.as_view()),
    path("rest/second", Second.as_view()),
    path("rest/open", Open.as_view()),
]
