"""Offline Terraform providers that also apply: a real `terraform apply` against the stand-in cloud of paper_cloud.py."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tests.deploy.paper import read
from tests.deploy.paper_cloud import Cloud
from tests.deploy.paper_policies import Refused
from tests.deploy.plugin import CLASS, SCHEMA, Json, Provider, pack, unpack

AT_ONCE = 64


def _filled(own: Any, other: Any) -> Any:
    """`own`, with the values of `other` where it has none."""
    if own is None or isinstance(own, msgspec.msgpack.Ext):
        return other
    if isinstance(own, list) and isinstance(other, list) and len(own) == len(other):
        return [_filled(*both) for both in zip(own, other, strict=True)]
    if isinstance(own, dict) and isinstance(other, dict):
        return {key: _filled(value, other.get(key)) for key, value in own.items()}
    return own


def _known(value: Any) -> Any:
    return _filled(value, None) if not isinstance(value, dict) else {key: _known(each) for key, each in value.items()}


class ApplyProvider(Provider):
    """A provider that also reads, creates, changes, deletes and imports."""

    def __init__(self, name: str, cloud: Cloud) -> None:
        super().__init__(name, read, AT_ONCE)
        self._cloud = cloud

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        prior, proposed = unpack(request.prior_state), unpack(request.proposed_new_state)
        if prior is None or proposed is None:
            return super().PlanResourceChange(request, context)
        planned: Json = {}
        for argument, each in SCHEMA[request.type_name].items():
            planned[argument] = proposed[argument]
            if argument.endswith("_wo"):
                planned[argument] = None
            elif each.get("computed"):
                planned[argument] = _filled(proposed[argument], prior[argument])
        return CLASS["PlanResponse"](planned_state=pack(planned), legacy_type_system=True)

    def UpgradeResourceState(self, request: Any, _: Any) -> Any:  # noqa: N802
        return CLASS["UpgradeResponse"](upgraded_state=pack(json.loads(request.raw_state.json)))

    def ReadResource(self, request: Any, _: Any) -> Any:  # noqa: N802
        answer = CLASS["ReadResponse"]()
        current = unpack(request.current_state)
        with self._cloud.clock.work():
            try:
                answer.new_state.CopyFrom(pack(self._cloud.read(request.type_name, current)))
            except Refused as refused:
                answer.new_state.CopyFrom(request.current_state)
                answer.diagnostics.add(severity=1, summary=str(refused))
        return answer

    def ReadDataSource(self, request: Any, _: Any) -> Any:  # noqa: N802
        answer, values = CLASS["DataResponse"](), unpack(request.config)
        with self._cloud.clock.work():
            try:
                found = self._cloud.look(request.type_name, values)
                answer.state.CopyFrom(pack(_filled(values, found)))
            except Refused as refused:
                answer.diagnostics.add(severity=1, summary=str(refused))
        return answer

    def ImportResourceState(self, request: Any, _: Any) -> Any:  # noqa: N802
        answer = CLASS["ImportResponse"]()
        with self._cloud.clock.work():
            try:
                state = pack(self._cloud.find(request.type_name, request.id))
                answer.imported_resources.add(type_name=request.type_name, state=state)
            except Refused as refused:
                answer.diagnostics.add(severity=1, summary=str(refused))
        return answer

    def ApplyResourceChange(self, request: Any, _: Any) -> Any:  # noqa: N802
        kind, prior, planned = request.type_name, unpack(request.prior_state), unpack(request.planned_state)
        given = unpack(request.config)
        answer = CLASS["ApplyResponse"](new_state=request.prior_state, legacy_type_system=True)
        with self._cloud.clock.work():
            try:
                if planned is None:
                    self._cloud.delete(kind, prior)
                    answer.new_state.CopyFrom(pack(None))
                elif prior is None:
                    values = self._assigned(kind, _filled(planned, given))
                    self._cloud.create(kind, values, given)
                    answer.new_state.CopyFrom(pack(values))
                else:
                    self._cloud.update(kind, planned, given)
                    answer.new_state.CopyFrom(pack(planned))
            except Refused as refused:
                answer.diagnostics.add(severity=1, summary=str(refused))
        return answer

    def _assigned(self, kind: str, values: Json) -> Json:
        """The values with what Google Cloud assigns."""
        values = {key: None if key.endswith("_wo") else each for key, each in _known(values).items()}
        assigned = self._cloud.names(kind, values)
        for argument, each in SCHEMA[kind].items():
            if each.get("computed"):
                other = assigned.get(argument, [] if "block" in each else f"{argument} of {kind}")
                values[argument] = _filled(values[argument], other)
        return values
