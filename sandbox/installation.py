"""Reads deploy/installation.yaml, so that the sandbox's installation has the same parts as a real one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FILE = Path(__file__).parents[1] / "deploy" / "installation.yaml"


@cache
def installation() -> Json:
    """The content of the file."""
    import yaml

    said: Json = yaml.safe_load(FILE.read_text())
    return said


def apis() -> list[str]:
    """The APIs that an installation needs to which Eventarc delivers."""
    return [each["api"] for each in installation()["apis"] if each.get("only") in (None, "eventarc")]


def tasks() -> list[str]:
    """The task of each service account."""
    return list(installation()["resources"]["accounts"])


def named(kind: str, part: str, name: str) -> str:
    """The name of a resource in an installation with this name."""
    first, *others = name.split("-")
    camel = first + "".join(word.title() for word in others)
    template = str(installation()["resources"][kind][part]["name"])
    return template.replace("<name>", name).replace("<camel>", camel)


def permissions(role: str) -> list[str]:
    """The permissions of a custom role of an organization."""
    said = installation()
    if role == "ledger":
        return [each["permission"] for each in said["ledger"]]
    return list(dict.fromkeys(each["permission"] for each in said["calls"] if role in each["roles"]))


def indexes(collection: str) -> list[list[Json]]:
    """The fields of each composite index of a collection, in Firestore's form."""
    words = [
        [each.partition(" ") for each in index["by"]]
        for index in installation()["indexes"]
        if index["in"] == collection
    ]
    return [
        [{"fieldPath": field, "order": "DESCENDING" if order else "ASCENDING"} for field, _, order in index]
        for index in words
    ]
