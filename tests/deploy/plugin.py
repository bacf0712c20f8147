"""Offline Terraform providers: a real `terraform plan` without network and cloud.

Terraform calls a provider by gRPC ("Terraform plugin protocol", version 6), and uses a running one that
TF_REATTACH_PROVIDERS names. These providers know the arguments and attributes of every type in deploy/ (schema.json). A
value that a real provider knows only after an apply is unknown, or on request the name that Google Cloud would assign.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Json = dict[str, Any]
SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text())
UNKNOWN = msgspec.msgpack.Ext(0, b"\0")
_PACKAGE = "tfplugin6"

# The needed messages: name -> fields as `number name type`, `*` for repeated, `%` for a map to that type.
_MESSAGES = {
    "DynamicValue": "1 msgpack bytes, 2 json bytes",
    "Diagnostic": "1 severity int64, 2 summary string, 3 detail string",
    "Attribute": "1 name string, 2 type bytes, 4 required bool, 5 optional bool, 6 computed bool, 11 write_only bool",
    "NestedBlock": "1 type_name string, 2 block Block, 3 nesting int64, 4 min_items int64, 5 max_items int64",
    "Block": "1 version int64, 2 attributes *Attribute, 3 block_types *NestedBlock",
    "Schema": "1 version int64, 2 block Block",
    "Empty": "",
    "Schemas": "1 provider Schema, 2 resource_schemas %Schema, 3 data_source_schemas %Schema, 8 ephemeral_resource_schemas %Schema",
    "Named": "1 type_name string, 2 config DynamicValue",
    "Told": "1 diagnostics *Diagnostic",
    "ToldSecond": "2 diagnostics *Diagnostic",
    "PlanRequest": "1 type_name string, 2 prior_state DynamicValue, 3 proposed_new_state DynamicValue, 4 config DynamicValue",
    "PlanResponse": "1 planned_state DynamicValue, 4 diagnostics *Diagnostic, 5 legacy_type_system bool",
    "DataResponse": "1 state DynamicValue, 2 diagnostics *Diagnostic",
    "Opened": "1 diagnostics *Diagnostic, 3 result DynamicValue",
    "ReadRequest": "1 type_name string, 2 current_state DynamicValue",
    "ReadResponse": "1 new_state DynamicValue, 2 diagnostics *Diagnostic",
    "ApplyRequest": "1 type_name string, 2 prior_state DynamicValue, 3 planned_state DynamicValue, 4 config DynamicValue",
    "ApplyResponse": "1 new_state DynamicValue, 3 diagnostics *Diagnostic, 4 legacy_type_system bool",
    "RawState": "1 json bytes",
    "UpgradeRequest": "1 type_name string, 2 version int64, 3 raw_state RawState",
    "UpgradeResponse": "1 upgraded_state DynamicValue, 2 diagnostics *Diagnostic",
    "ImportRequest": "1 type_name string, 2 id string",
    "Imported": "1 type_name string, 2 state DynamicValue",
    "ImportResponse": "1 imported_resources *Imported, 2 diagnostics *Diagnostic",
}
_TYPES = {"bytes": 12, "string": 9, "int64": 3, "bool": 8}
_METHODS = {
    "GetProviderSchema": ("Empty", "Schemas"),
    "ValidateProviderConfig": ("Empty", "ToldSecond"),
    "ValidateResourceConfig": ("Named", "Told"),
    "ValidateDataResourceConfig": ("Named", "Told"),
    "ValidateEphemeralResourceConfig": ("Named", "Told"),
    "ConfigureProvider": ("Empty", "Told"),
    "PlanResourceChange": ("PlanRequest", "PlanResponse"),
    "ReadDataSource": ("Named", "DataResponse"),
    "UpgradeResourceState": ("UpgradeRequest", "UpgradeResponse"),
    "ReadResource": ("ReadRequest", "ReadResponse"),
    "ApplyResourceChange": ("ApplyRequest", "ApplyResponse"),
    "ImportResourceState": ("ImportRequest", "ImportResponse"),
    "OpenEphemeralResource": ("Named", "Opened"),
    "CloseEphemeralResource": ("Named", "Told"),
    "StopProvider": ("Empty", "Empty"),
}


def _classes() -> dict[str, Any]:
    """The protocol's messages as Python classes."""
    file = descriptor_pb2.FileDescriptorProto(name="paper.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            number, label, kind = field.split()
            made = message.field.add(name=label, number=int(number), label=3 if kind[0] in "*%" else 1)
            if kind[0] == "%":
                entry = message.nested_type.add(name=f"{label.title().replace('_', '')}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=9)
                entry.field.add(name="value", number=2, label=1, type=11, type_name=f".{_PACKAGE}.{kind[1:]}")
                made.type, made.type_name = 11, f".{_PACKAGE}.{name}.{entry.name}"
            elif kind.lstrip("*") in _TYPES:
                made.type = _TYPES[kind.lstrip("*")]
            else:
                made.type, made.type_name = 11, f".{_PACKAGE}.{kind.lstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


CLASS = _classes()


def pack(value: Any) -> Any:
    return CLASS["DynamicValue"](msgpack=msgspec.msgpack.encode(value))


def unpack(value: Any) -> Any:
    return msgspec.msgpack.decode(value.msgpack) if value.msgpack else None


def _type(argument: Json) -> Any:
    """An argument's type, as Terraform writes types in JSON."""
    if "block" in argument:
        inner = {name: _type(each) for name, each in argument["block"].items()}
        return ["list", ["object", inner]]
    kind = argument["type"]
    if kind.startswith("list("):
        return ["list", kind[5:-1]]
    return {"boolean": "bool", "map": ["map", "string"]}.get(kind, kind)


def _block(arguments: Json) -> Any:
    made = CLASS["Block"]()
    for name, each in arguments.items():
        if "block" in each and not each.get("computed"):
            most = 0 if each["many"] else 1
            least = 1 if each["req"] else 0
            made.block_types.add(
                type_name=name, block=_block(each["block"]), nesting=2, min_items=least, max_items=most
            )
            continue
        computed = each.get("computed")
        made.attributes.add(
            name=name,
            type=json.dumps(_type(each)).encode(),
            required=each["req"],
            optional=not each["req"] and computed != "only",
            computed=bool(computed),
            write_only=name.endswith("_wo"),
        )
    return made


def _schema(arguments: Json) -> Any:
    return CLASS["Schema"](block=_block(arguments))


def _nothing(answer: Any, *_: Any) -> Any:
    """The answer to a valid configuration: no diagnostics."""
    return answer()


class Provider:
    """One provider, serving on loopback. `names` gives the values of a resource that are known before it exists."""

    def __init__(self, name: str, names: Callable[[str, Json], Json], at_once: int = 4) -> None:
        self.name = name
        self._names = names
        self._types = {key: value for key, value in SCHEMA.items() if key.removeprefix("data.").startswith(f"{name}_")}
        self._types |= {key: value for key, value in SCHEMA.items() if key.startswith(f"ephemeral.{name}_")}
        self._server = grpc.server(ThreadPoolExecutor(at_once))
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                getattr(self, method, partial(_nothing, CLASS[answer])),
                CLASS[asked].FromString,
                CLASS[answer].SerializeToString,
            )
            for method, (asked, answer) in _METHODS.items()
        }
        generic = grpc.method_handlers_generic_handler(f"{_PACKAGE}.Provider", handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def close(self) -> None:
        self._server.stop(None)

    @property
    def reattached(self) -> Json:
        """The provider's value in TF_REATTACH_PROVIDERS."""
        address = {"Network": "tcp", "String": f"127.0.0.1:{self.port}"}
        return {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}

    def GetProviderSchema(self, _: Any, __: Any) -> Any:  # noqa: N802, as the protocol names it
        answer = CLASS["Schemas"](provider=_schema({}))
        for name, arguments in self._types.items():
            kind, _, rest = name.rpartition(".")
            {"": answer.resource_schemas, "data": answer.data_source_schemas}.get(
                kind, answer.ephemeral_resource_schemas
            )[rest].CopyFrom(_schema(arguments))
        return answer

    def ValidateResourceConfig(self, request: Any, _: Any) -> Any:  # noqa: N802
        """As Google's provider does: refuse a value for what Google Cloud alone assigns. Terraform leaves that to it."""
        answer, given = CLASS["Told"](), unpack(request.config)
        for name, each in self._types[request.type_name].items():
            if each.get("computed") == "only" and given.get(name) is not None:
                answer.diagnostics.add(severity=1, summary=f"Google Cloud alone assigns {name}")
        return answer

    def PlanResourceChange(self, request: Any, _: Any) -> Any:  # noqa: N802
        proposed = unpack(request.proposed_new_state)
        planned = self._filled(request.type_name, proposed) if proposed is not None else None
        # As Google's provider does: if a block has computed values, the plan has more than the configuration.
        return CLASS["PlanResponse"](planned_state=pack(planned), legacy_type_system=True)

    def ReadDataSource(self, request: Any, _: Any) -> Any:  # noqa: N802
        return CLASS["DataResponse"](state=pack(self._filled(f"data.{request.type_name}", unpack(request.config))))

    def OpenEphemeralResource(self, request: Any, _: Any) -> Any:  # noqa: N802
        filled = self._filled(f"ephemeral.{request.type_name}", unpack(request.config))
        return CLASS["Opened"](result=pack(filled))

    def _filled(self, name: str, values: Json) -> Json:
        """The values with the computed ones added: from `names`, otherwise unknown."""
        known = self._names(name, values)
        later = UNKNOWN if "." not in name else None  # data sources are known before an apply
        filled = dict(values)
        for argument, each in self._types[name].items():
            if argument.endswith("_wo"):
                filled[argument] = None
            elif each.get("computed") and filled.get(argument) in (None, []):
                filled[argument] = known.get(argument, later)
            elif argument in known:
                filled[argument] = known[argument]
            elif "block" in each and each.get("computed"):
                filled[argument] = UNKNOWN
        return filled
