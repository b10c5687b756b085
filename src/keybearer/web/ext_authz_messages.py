"""The messages of Envoy's ext_authz over gRPC, as far as they are needed: names and numbers of their fields.

Spec: ``envoy/service/auth/v3/external_auth.proto`` and ``attribute_context.proto``,
``envoy/config/core/v3/base.proto`` and ``address.proto``, ``envoy/type/v3/http_status.proto``,
``google/rpc/status.proto``. Fields that are not listed here are skipped when they arrive, as Protocol Buffers has it.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "keybearer.ext_authz"
_FIELDS: Final[dict[str, dict[str, tuple[int, str]]]] = {
    # envoy.service.auth.v3
    "CheckRequest": {"attributes": (1, "AttributeContext")},
    "AttributeContext": {"source": (1, "Peer"), "request": (4, "Request"), "context_extensions": (10, "{string}")},
    "Peer": {"address": (1, "Address")},
    "Request": {"http": (2, "HttpRequest")},
    "HttpRequest": {
        "method": (2, "string"),
        "headers": (3, "{string}"),
        "path": (4, "string"),
        "host": (5, "string"),
        "scheme": (6, "string"),
        "header_map": (13, "HeaderMap"),
    },
    "CheckResponse": {
        "status": (1, "Status"),
        "denied_response": (2, "DeniedHttpResponse"),
        "ok_response": (3, "OkHttpResponse"),
    },
    "DeniedHttpResponse": {"status": (1, "HttpStatus"), "headers": (2, "[HeaderValueOption]"), "body": (3, "string")},
    "OkHttpResponse": {
        "headers": (2, "[HeaderValueOption]"),
        "headers_to_remove": (5, "[string]"),
        "response_headers_to_add": (6, "[HeaderValueOption]"),
    },
    # envoy.config.core.v3
    "Address": {"socket_address": (1, "SocketAddress")},
    "SocketAddress": {"address": (2, "string")},
    "HeaderMap": {"headers": (1, "[HeaderValue]")},
    "HeaderValue": {"key": (1, "string"), "value": (2, "string"), "raw_value": (3, "bytes")},
    "HeaderValueOption": {"header": (1, "HeaderValue"), "append_action": (3, "int32")},
    # envoy.type.v3 and google.rpc
    "HttpStatus": {"code": (1, "int32")},
    "Status": {"code": (1, "int32"), "message": (2, "string")},
}
"""``[name]`` is repeated, ``{string}`` a map from strings. Enumerations are the numbers that they are on the wire."""
_SCALARS: Final = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "int32": FieldDescriptorProto.TYPE_INT32,
}
OVERWRITE_IF_EXISTS_OR_ADD: Final = 2
"""Of ``HeaderValueOption.HeaderAppendAction``."""


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(name="keybearer/ext_authz.proto", package=_PACKAGE, syntax="proto3")
    for message, described in _FIELDS.items():
        found = file.message_type.add(name=message)
        for name, (number, kind) in described.items():
            field = found.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            bare = kind.strip("[]")
            if bare != kind or kind == "{string}":
                field.label = FieldDescriptorProto.LABEL_REPEATED
            if kind == "{string}":
                entry = found.nested_type.add(name=name.title().replace("_", "") + "Entry")
                entry.options.map_entry = True
                for place, part in enumerate(("key", "value"), 1):
                    entry.field.add(
                        name=part,
                        number=place,
                        type=FieldDescriptorProto.TYPE_STRING,
                        label=FieldDescriptorProto.LABEL_OPTIONAL,
                    )
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{message}.{entry.name}"
            elif bare in _SCALARS:
                field.type = _SCALARS[bare]
            else:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
    return file


# A pool of its own: the program may have loaded Envoy's whole files too.
_pool = DescriptorPool()
_pool.Add(_described())


def _class_of(message: str) -> Any:
    return GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{message}"))


CheckRequest: Final = _class_of("CheckRequest")
CheckResponse: Final = _class_of("CheckResponse")
