"""An image reference names one repository, or none."""

from __future__ import annotations

import pytest

from remediate.image import Repository, parse_image

REPOSITORIES = {
    "us-docker.pkg.dev/my-project/repo/app": "projects/my-project/locations/us/repositories/repo",
    "europe-docker.pkg.dev/my-project/repo/a/b/c:v1": "projects/my-project/locations/europe/repositories/repo",
    "asia-northeast1-docker.pkg.dev/p1-x/r.e.po/app:v1@sha256:"
    + "0" * 64: "projects/p1-x/locations/asia-northeast1/repositories/r.e.po",
    "northamerica-northeast2-docker.pkg.dev/my-project/r/app@sha256:abcd": "projects/my-project/locations/northamerica-northeast2/repositories/r",
    "us-docker.pkg.dev/example.com/proj/repo/app": "projects/example.com:proj/locations/us/repositories/repo",
    "us-docker.pkg.dev/my-project/gcr.io/app": "projects/my-project/locations/us/repositories/gcr.io",
    "us-docker.pkg.dev/123456789012/repo/app": "projects/123456789012/locations/us/repositories/repo",
    "us-docker.pkg.dev/my-project/repo/evil.com/app": "projects/my-project/locations/us/repositories/repo",
    "gcr.io/my-project/app": "projects/my-project/locations/us/repositories/gcr.io",
    "us.gcr.io/my-project/app:1": "projects/my-project/locations/us/repositories/us.gcr.io",
    "eu.gcr.io/my-project/a/b": "projects/my-project/locations/europe/repositories/eu.gcr.io",
    "asia.gcr.io/my-project/app": "projects/my-project/locations/asia/repositories/asia.gcr.io",
    "gcr.io/example.com/proj/app": "projects/example.com:proj/locations/us/repositories/gcr.io",
}


@pytest.mark.parametrize(("reference", "repository"), REPOSITORIES.items())
def test_artifact_registry_reference_names_its_repository(reference: str, repository: str) -> None:
    image = parse_image(reference)
    assert image
    assert str(image.repository) == repository


@pytest.mark.parametrize(
    "reference",
    [
        "nginx",
        "library/nginx:1.27",
        "docker.io/library/nginx",
        "mirror.gcr.io/acme/app:latest",
        "ghcr.io/a/b",
        "k8s.gcr.io/pause:3",
        "localhost:5000/app",
        "evil.com/us-docker.pkg.dev/p/r/i",
    ],
)
def test_other_registries_hold_no_repository_of_ours(reference: str) -> None:
    image = parse_image(reference)
    assert image
    assert image.repository is None


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "us-docker.pkg.dev",
        "us-docker.pkg.dev/p",
        "us-docker.pkg.dev/p/r",
        "us-docker.pkg.dev/p/r/",
        "us-docker.pkg.dev//r/i",
        "us-docker.pkg.dev/p/../r/i",
        "us-docker.pkg.dev/p/r/..",
        "us-docker.pkg.dev/p/r/i\n",
        "us-docker.pkg.dev/p/r/i i",
        "us-docker.pkg.dev/p/r/i:tag:tag",
        "us-docker.pkg.dev/p/r/i@sha256",
        "us-docker.pkg.dev/p/r/i@evil.com/x",
        "us-docker.pkg.dev/P/r/i",
        "us-docker.pkg.dev/p/R/i",
        "us-docker.pkg.dev/p/r\u200b/i",
        "us-docker.pkg.dev/p/r/ı",
        "mars-docker.pkg.dev/p/r/i",
        "us-python.pkg.dev/p/r/i",
        "us-docker.pkg.dev.evil.com@us-docker.pkg.dev/p/r/i",
        "REGION.pkg.dev/PROJECT_ID/REPO/IMAGE:latest",
        "gcr.io/my-project",
        "gcr.io/example.com/proj",
        "us-docker.pkg.dev/p/r/" + "a" * 10_000,
        "us-docker.pkg.dev/${PROJECT}/r/i",
    ],
)
def test_a_malformed_reference_is_no_image(reference: str) -> None:
    image = parse_image(reference)
    assert image is None or image.repository is None


def test_tag_and_digest_do_not_make_another_image() -> None:
    one, two = parse_image("us-docker.pkg.dev/p/r/i:v1"), parse_image("us-docker.pkg.dev/p/r/i@sha256:abcd")
    assert one
    assert two
    assert one.same_name(two)


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "projects/p/locations/us",
        "projects/p/locations/us/repositories/r/x",
        "projects/p/locations/mars/repositories/r",
    ],
)
def test_only_a_repository_name_is_a_repository(resource: str) -> None:
    assert Repository.parse(resource) is None


def test_a_repository_reads_as_its_resource_name() -> None:
    name = "projects/example.com:proj/locations/us/repositories/gcr.io"
    assert str(Repository.parse(name)) == name
