"""The OpenAPI 3.1 document, made of the declarations of the routes (spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.http.endpoint import Beside, Endpoint, Operation, Parameter
from evenwatt_collector.http.errors import json_answer
from evenwatt_collector.http.tokens import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

Document = dict[str, Any]

PATH: Final = "/api/v1/openapi.json"
_TEMPLATE: Final = "#/components/schemas/{name}"
_STATUSES: Final = {
    200: "Answered",
    201: "Set",
    204: "Done, nothing to say",
    400: "It cannot be read as it was asked",
    401: "It takes a token",
    403: "Whose token it is may not do this",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "It contradicts what is there",
    413: "Too long",
    415: "Not JSON",
    421: "The host is not known here",
    422: "It makes no sense, or cannot be done",
    429: "Too much at once; ask again later",
    500: "A fault of the collector's own",
    501: "There is none",
    503: "Not now; ask again later",
}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "description": "What is wrong, and the fix"},
        "problems": {"type": "array", "items": {"type": "object"}, "description": "Of a job that is refused"},
    },
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["title", "status"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}},
    "description": "RFC 9457, as the Carbon Aware SDK answers",
}


def openapi_route(routes: Iterable[BaseRoute], version: str) -> Endpoint:
    """Return the route that hands the document out; it is in it itself."""
    encoded: Document = {}

    async def show(_request: Request) -> Response:
        return json_answer(encoded)

    route = Endpoint("GET", PATH, show, Operation(summary="This document", scope=None))
    encoded |= document([*routes, route], version)
    return route


def document(routes: Iterable[BaseRoute], version: str) -> Document:
    """Return the document of those routes that are described."""
    endpoints = [route for route in routes if isinstance(route, Endpoint)]
    schemas = _Schemas(endpoint.operation for endpoint in endpoints)
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "evenwatt collector",
            "version": version,
            "description": "Power, carbon and control of a fleet. docs/api.md says how to use it.",
            "license": {"name": "as the package"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, "Error": _ERROR, "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of the file [http] tokens"}
            },
        },
    }


class _Schemas:
    """Schemas of all types that operations name, made together: what has the same name in two modules gets another."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        types = {id(kind): kind for operation in operations for kind in _types(operation)}
        made, self.components = msgspec.json.schema_components(list(types.values()), ref_template=_TEMPLATE)
        self._made = dict(zip(types, made, strict=True))

    def of(self, kind: Any) -> Document:
        """Return what describes a type; a schema is one already."""
        if isinstance(kind, dict):
            return kind
        if isinstance(kind, Beside):
            more = {name: self.of(one) for name, one in kind.more.items()}
            return {"allOf": [self.of(kind.kind), {"type": "object", "required": list(more), "properties": more}]}
        return dict(self._made[id(kind)])


def _types(operation: Operation) -> list[Any]:
    found: list[Any] = []
    for kind in (operation.answer, operation.body, *operation.more.values()):
        found += [kind.kind, *kind.more.values()] if isinstance(kind, Beside) else [kind]
    return [kind for kind in found if kind is not None and not isinstance(kind, dict)]


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Document:
    said = endpoint.operation
    parts = [Parameter(name=name, words="") for name in re.findall(r"{(\w+)}", endpoint.path)]
    described = {parameter.name: parameter for parameter in said.path}
    parameters = [
        *(_parameter(described.get(part.name, part), "path") for part in parts),
        *(_parameter(parameter, "query") for parameter in said.query or ()),
        *(_parameter(parameter, "header") for parameter in said.headers),
    ]
    made: Document = {
        "operationId": re.sub(r"\W+", "-", f"{endpoint.method} {endpoint.path}").strip("-").lower(),
        "summary": said.summary,
        "tags": [_tag(endpoint.path)],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.words:
        made["description"] = endpoint.words
    if parameters:
        made["parameters"] = parameters
    if said.body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas.of(said.body)}}}
    if said.scope is not None:
        # Reading takes a token only where [http] read says so.
        made["security"] = [{"token": []}, {}] if said.scope is Scope.READ else [{"token": []}]
        made["x-scope"] = said.scope.value
    return made


def _parameter(parameter: Parameter, where: str) -> Document:
    schema: Document = dict(parameter.schema)
    if parameter.repeated:
        schema = {"type": "array", "items": schema}
    made: Document = {"name": parameter.name, "in": where, "schema": schema}
    if where == "path" or parameter.required:
        made["required"] = True
    if parameter.words:
        made["description"] = parameter.words
    return made


def _responses(endpoint: Endpoint, schemas: _Schemas) -> Document:
    said = endpoint.operation
    made: Document = {}
    for status, kind in {said.status: said.answer, **said.more}.items():
        made[str(status)] = {"description": _STATUSES[status]}
        if kind is not None:
            media = (said.media if status == said.status else "application/json").partition(";")[0]
            made[str(status)]["content"] = {media: {"schema": schemas.of(kind)}}
    errors = {*said.errors, 421}
    if said.query is not None:
        errors.add(400)
    if said.scope is not None:
        errors |= {401, 403, 429}
    aware = not endpoint.path.startswith("/api/") and said.query is None
    for status in sorted(errors - {int(known) for known in made}):
        content = {"application/json": {"schema": {"$ref": _TEMPLATE.format(name="Error")}}}
        if aware and status not in {401, 403, 421, 429}:
            content["application/problem+json"] = {"schema": {"$ref": _TEMPLATE.format(name="Problem")}}
        made[str(status)] = {"description": _STATUSES[status], "content": content}
    return made


def _tag(path: str) -> str:
    if path.startswith("/api/v1/"):
        return path.split("/")[3]
    return "carbon aware" if path.split("/")[1] in {"emissions", "locations", "health"} else "service"
