"""`rpc.discover`: the interface as an OpenRPC 1.2 document, generated from its types and from the registry of actions.

Nothing is described twice: parameters and results come from the dataclasses of `chain.interface`, records from their
layouts, actions and errors from where they are declared. The text that follows a field in the source is its
description, so what a reader of the code sees is what a client is told.
"""

import ast
import dataclasses
import inspect
import types
import typing
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Literal, Union

import msgspec

from chain import interface as api
from chain.action import action_schemas
from chain.errors import LedgerError
from chain.record import json_schema
from node.rpc.context import RpcContext
from node.rpc.dispatch import Handler

Schema = dict[str, Any]


@cache
def document() -> Schema:
    """The whole document."""
    schemas: dict[str, Schema] = {}
    methods = [_method(method, schemas) for method in api.METHODS.values()]
    for name, schema in action_schemas():
        properties = {"action": {"const": name}, **schema["properties"]}
        schemas[f"Action.{name}"] = {**schema, "properties": properties, "required": ["action"]}
    return {
        "openrpc": "1.2.6",
        "info": {
            "title": "AITBC node",
            "version": api.INTERFACE_VERSION,
            "description": inspect.getdoc(api) or "",
        },
        "methods": methods,
        "components": {"schemas": schemas, "errors": _errors()},
    }


def _method(method: api.Method, schemas: dict[str, Schema]) -> Schema:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "either",
        "params": _params(method.params, schemas),
        "result": {"name": "result", "schema": _schema(method.result, schemas)},
    }


def _params(cls: type[Any], schemas: dict[str, Schema]) -> list[Schema]:
    hints = typing.get_type_hints(cls, include_extras=True)
    texts = _field_texts(cls)
    found = []
    for field in dataclasses.fields(cls):
        schema = dict(_schema(hints[field.name], schemas))
        required = field.default is dataclasses.MISSING
        if not required and field.default is not None:
            schema["default"] = field.default
        descriptor: Schema = {"name": field.name, "required": required, "schema": schema}
        if field.name in texts:
            descriptor["description"] = texts[field.name]
        found.append(descriptor)
    return found


def _schema(annotation: Any, schemas: dict[str, Schema]) -> Schema:
    """The JSON schema of a declared type; dataclasses and records become named components."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        schema = _schema(annotation.__origin__, schemas)
        for mark in annotation.__metadata__:
            schema = _marked(schema, mark, schemas)
        return schema
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(item, schemas) for item in typing.get_args(annotation)]}
    if origin is Literal:
        return {"enum": list(typing.get_args(annotation))}
    if origin is tuple:
        return {"type": "array", "items": _schema(typing.get_args(annotation)[0], schemas)}
    if origin is dict:
        value = typing.get_args(annotation)[1]
        return {"type": "object"} | ({} if value is Any else {"additionalProperties": _schema(value, schemas)})
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _component(annotation, schemas)
    simple = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
    return {"type": simple[annotation]}


def _marked(schema: Schema, mark: Any, schemas: dict[str, Schema]) -> Schema:
    match mark:
        case api.TextFormat():
            pattern = {"pattern": mark.pattern} if mark.pattern else {}
            return {**schema, "description": mark.description, "maxLength": mark.maximum, **pattern}
        case api.IntegerRange():
            text = {"description": mark.description} if mark.description else {}
            return {**schema, "minimum": mark.minimum, "maximum": mark.maximum, **text}
        case api.ListLength():
            return {**schema, "minItems": mark.minimum, "maxItems": mark.maximum}
        case api.RecordOf():
            cls = getattr(import_module(mark.module), mark.name)
            # Answers may show more than the record, such as the id beside a transaction's body.
            schemas.setdefault(mark.name, {**json_schema(cls), "additionalProperties": True})
            return {"$ref": f"#/components/schemas/{mark.name}"}
    return schema


def _component(cls: type[Any], schemas: dict[str, Schema]) -> Schema:
    reference = {"$ref": f"#/components/schemas/{cls.__name__}"}
    if cls.__name__ in schemas:
        return reference
    schemas[cls.__name__] = {}
    hints = typing.get_type_hints(cls, include_extras=True)
    texts = _field_texts(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        schema = _schema(hints[field.name], schemas)
        if field.name in texts:
            schema = {"allOf": [schema], "description": texts[field.name]}
        properties[field.name] = schema
    schemas[cls.__name__] = {
        "type": "object",
        "title": cls.__name__,
        "description": inspect.getdoc(cls) if not _generated_doc(cls) else "",
        "properties": properties,
        "required": [field.name for field in dataclasses.fields(cls)],
        "additionalProperties": False,
    }
    return reference


def _generated_doc(cls: type[Any]) -> bool:
    """Whether the docstring is the signature that `dataclass` puts in place of a missing one."""
    return (cls.__doc__ or "").startswith(f"{cls.__name__}(")


@cache
def _all_field_texts(module: types.ModuleType) -> dict[str, dict[str, str]]:
    """Class name to field name to the string that follows the field in the source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            texts = {}
            for field, text in zip(node.body, node.body[1:], strict=False):
                match field, text:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str() as content)),
                    ):
                        texts[name] = inspect.cleandoc(content)
            found[node.name] = texts
    return found


def _field_texts(cls: type[Any]) -> dict[str, str]:
    return _all_field_texts(import_module(cls.__module__)).get(cls.__name__, {})


def _errors() -> dict[str, Schema]:
    """Every coded error that this software knows, by name."""
    return {
        error.name: {"code": code, "message": error.hint or error.name.replace("_", " ")}
        for code, error in sorted(LedgerError.by_code.items())
    }


@cache
def _encoded() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(document()))


def discover(context: RpcContext, params: api.NoParams) -> msgspec.Raw:
    return _encoded()


HANDLERS: dict[str, Handler] = {"rpc.discover": discover}
