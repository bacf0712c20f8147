"""Writes schema.json: from the provider schema that checks every block, the types in deploy/ and their computed values.

Run `python -m tests.deploy.schema SCHEMA.json` if a module needs a type that is missing.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.sandbox_fixture import ROOT

SHARED = ROOT.parent / "shared" / "tools"
WRITTEN = Path(__file__).parent / "schema.json"
_BOOLEAN = ("iap_enabled",)  # the frozen schema has only their names

# Types that are not Google's, and values that Google's schema does not mark as computed.
_OTHERS: dict[str, Any] = {
    "ephemeral.random_password": {
        "length": {"req": True, "type": "number"},
        "special": {"req": False, "type": "boolean"},
        "result": {"req": False, "type": "string", "computed": "only"},
    },
}


def used() -> set[str]:
    """The types that the module uses, data sources as `data.TYPE`."""
    text = "".join(path.read_text() for path in sorted((ROOT / "deploy").glob("*.tf")))
    found = re.findall(r'^(resource|data) "(google_[a-z0-9_]+)"', text, re.M)
    return {f"data.{name}" if kind == "data" else name for kind, name in found}


def made(shared: dict[str, Any]) -> dict[str, Any]:
    """The content of schema.json."""
    types = {name: _type(shared[name]) for name in sorted(used())}
    if "google_eventarc_trigger" in types:
        # Eventarc creates the subscription and returns its name, with or without the block.
        transport = types["google_eventarc_trigger"]["transport"]
        transport["computed"] = "also"
        transport["block"]["pubsub"]["block"]["subscription"] = {"req": False, "type": "string"}
    return types | _OTHERS


def _type(found: dict[str, Any]) -> dict[str, Any]:
    arguments = _arguments(found["args"])
    for name in found["attrs"]:
        if name not in found["args"] and not name.endswith("_input"):
            arguments[name] = {"req": False, "type": "string", "computed": "only"}
    arguments["id"] = {"req": False, "type": "string", "computed": "also"}
    return arguments


def _arguments(args: dict[str, Any]) -> dict[str, Any]:
    return {name: _argument(name, each) for name, each in args.items() if name != "timeouts"}


def _argument(name: str, each: dict[str, Any]) -> dict[str, Any]:
    if "block" in each:
        return {"req": each["req"], "many": each["many"], "block": _arguments(each["block"])}
    return {"req": each["req"], "type": each["type"] or ("boolean" if name in _BOOLEAN else "string")}


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(made(json.loads(Path(sys.argv[1]).read_text())), sort_keys=True, indent=0) + "\n")
