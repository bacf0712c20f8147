"""`python -m deploy.generate`: writes what the doctor and install.sh need of installation.yaml into their files.

The doctor runs where there is no deploy/, and install.sh where there is no YAML parser: see
docs/decisions/0010-installation-file.md. tests/deploy/test_installation.py fails where a file is not what this writes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "installation.yaml"
MODULE = ROOT / "remediate" / "doctor" / "installation.py"
SCRIPT = ROOT / "deploy" / "install.sh"
BEGIN = "# Written by `make installation`, from installation.yaml: do not change it here."
END = "# Written until here."

Json = dict[str, Any]


def read() -> Json:
    """The installation, as the file lists it."""
    found: Json = yaml.safe_load(FILE.read_text())
    return found


def apis(installation: Json) -> tuple[list[str], dict[str, str]]:
    """The APIs that every installation needs; and each API that only some need, with its condition."""
    always = [each["api"] for each in installation["apis"] if "only" not in each]
    return always, {each["api"]: each["only"] for each in installation["apis"] if "only" in each}


def roles(installation: Json) -> dict[str, dict[str, bool]]:
    """The permissions of each custom role, and whether only a role above projects can hold it."""
    held: dict[str, dict[str, bool]] = {role: {} for role in installation["resources"]["roles"]}
    for call in installation["calls"]:
        for role in held.keys() & {*call["roles"]}:  # not Google's own
            above = call.get("only") == "above"
            held[role][call["permission"]] = above and held[role].get(call["permission"], True)
    held["ledger"] = {each["permission"]: False for each in installation["ledger"]}
    return {role: dict(sorted(permissions.items())) for role, permissions in held.items()}


def ordered(index: Json) -> list[tuple[str, str]]:
    """The fields of a composite index, each with its order."""
    words = [each.partition(" ") for each in index["by"]]
    return [(field, "descending" if order == "desc" else "ascending") for field, _, order in words]


def module() -> str:
    """The doctor's module."""
    installation = read()
    held = roles(installation)
    always, conditional = apis(installation)
    names = {
        kind: {part: each["name"] for part, each in parts.items()} for kind, parts in installation["resources"].items()
    }
    indexes = [
        [field for field, _ in ordered(each)] for each in installation["indexes"] if each["in"] == "remediations"
    ]
    values: list[tuple[str, object, str]] = [
        ("APIS", tuple(always), "The APIs that the installation's project must have enabled."),
        ("CONDITIONAL_APIS", conditional, "Each API that it must have enabled under a condition, with the condition."),
        ("NAMES", names, "The names of the resources, by kind and part."),
        ("METHODS", tuple(installation["methods"]), "The calls whose audit log entries trigger Eventarc."),
        ("ROLES", {role: tuple(each) for role, each in held.items()}, "The permissions of each custom role."),
        (
            "ABOVE",
            tuple(sorted({name for each in held.values() for name, above in each.items() if above})),
            "The permissions that a role of a project cannot hold.",
        ),
        (
            "TROUBLESHOOTER_ROLES",
            tuple(installation["troubleshooter"]),
            "The roles that a call of Policy Troubleshooter needs.",
        ),
        ("INDEXES", tuple(map(tuple, indexes)), "The composite indexes of the collection `remediations`."),
    ]
    lines = ['"""What an installation consists of: written by `make installation` from deploy/installation.yaml."""']
    lines += [f'{name} = {value!r}\n"""{why}"""' for name, value, why in values]
    return _formatted("\n\n".join(lines))


def _formatted(code: str) -> str:
    words = [sys.executable, "-m", "ruff", "format", f"--config={ROOT / 'pyproject.toml'}", "-"]
    return subprocess.run(words, input=code, capture_output=True, text=True, check=True).stdout  # noqa: S603 # our words


def section() -> str:
    """The section of install.sh; without conditional APIs, because install.sh sets up no Policy Troubleshooter."""
    installation = read()
    lines = [
        BEGIN,
        *_array("apis", apis(installation)[0]),
        *_array("eventarc_apis", [api for api, only in apis(installation)[1].items() if only == "eventarc"]),
        f"accounts=({' '.join(installation['resources']['accounts'])})",
    ]
    for kind, parts in installation["resources"].items():
        one = {"repositories": "repository"}.get(kind, kind.removesuffix("s"))
        for part, each in parts.items():
            lines.append(f"{one}_{part}=" + re.sub(r"<(\w+)>", r"${\1}", each["name"]))
            lines += [f"title_{part}={each['title']}"] if "title" in each else []
    for role, held in roles(installation).items():
        lines += _array(f"permissions_{role}", [name for name, above in held.items() if not above])
        if beyond := [name for name, above in held.items() if above]:
            lines += ["if [[ $kind != projects ]]; then", *_array(f"permissions_{role}", beyond, "+="), "fi"]
    lines += _array("methods", installation["methods"])
    indexes = [[each["in"], *map(":".join, ordered(each))] for each in installation["indexes"]]
    lines += _array("indexes", [f"'{' '.join(each)}'" for each in indexes])
    lines += _array("overrides", [f"'{_override(each)}'" for each in installation["fields"]])
    return "\n".join([*lines, END])


def _array(name: str, words: list[str], sign: str = "=") -> list[str]:
    return [f"{name}{sign}(", *(f"  {each}" for each in words), ")"]


def _override(field: Json) -> str:
    """A field's path, and the body that sets its indexes."""
    own = field["field"]
    indexes = [
        {"queryScope": scope, "fields": [{"fieldPath": own, "order": order}]}
        for scope in field["scopes"]
        for order in ("ASCENDING", "DESCENDING")
    ]
    return f"{field['in']}/fields/{own} {json.dumps({'indexConfig': {'indexes': indexes}})}"


def script() -> str:
    """install.sh with its section anew."""
    text = SCRIPT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"install.sh: expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{section()}{after}"


if __name__ == "__main__":
    MODULE.write_text(module())
    SCRIPT.write_text(script())
