"""Every image that the deployment names, and whether it is named by its digest: a tag is whatever its owner makes of it."""

from __future__ import annotations

import re

from tests.sandbox_fixture import ROOT

# Public registries, and what follows a name; our own image is built and named at the time (`$region`, `${var.region}`).
_PUBLIC = re.compile(
    r"(?<![\w.$}{/-])(?:(?:[a-z]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev|docker\.io|ghcr\.io|quay\.io|mcr\.microsoft\.com)"
    r"/[a-z0-9][\w./-]*(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?"
)
_FROM = re.compile(r"^FROM (\S+)", re.M)
NOT_PINNED = {
    "deploy/Dockerfile": {"python:3.11-slim"},
    "deploy/build.yaml": {"gcr.io/k8s-skaffold/pack", "gcr.io/buildpacks/builder:latest"},
}
"""What is still named by a tag, or by nothing: the two that build the image, and what `make image` builds on
where there is no buildpack. A digest is taken from the registry, not
made up, and then its line here goes."""


def test_every_image_is_named_by_its_digest_but_those_that_are_known() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "deploy").rglob("*")):
        if (
            path.is_file()
            and path.suffix in (".tf", ".yaml", ".yml", ".sh", ".json", ".hcl")
            and ".terraform" not in path.parts
            and not path.name.endswith(".test.yaml")  # cases of policies name images that nobody runs
        ):
            images = {each for each in _PUBLIC.findall(path.read_text()) if "@sha256:" not in each}
            if images:
                found[str(path.relative_to(ROOT))] = images
    found["deploy/Dockerfile"] = {
        each for each in _FROM.findall((ROOT / "deploy" / "Dockerfile").read_text()) if "@sha256:" not in each
    }
    assert found == NOT_PINNED


def test_the_pattern_finds_what_it_is_for() -> None:
    digest = f"@sha256:{'0' * 64}"
    named = f"a: gcr.io/x/y:1\nb=docker.io/z{digest} us-docker.pkg.dev/p/r/i ${{var.region}}-docker.pkg.dev/p/r/i"
    assert _PUBLIC.findall(named) == ["gcr.io/x/y:1", f"docker.io/z{digest}", "us-docker.pkg.dev/p/r/i"]
