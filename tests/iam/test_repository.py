"""An image reference names one repository, or none."""

from __future__ import annotations

import pytest

from remediate.iam.repository import Repository, parse_image

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
    "docker.me-central2.rep.pkg.dev/my-project/repo/app:1.4": "projects/my-project/locations/me-central2/repositories/repo",
    "docker.us.rep.pkg.dev/my-project/repo/app": "projects/my-project/locations/us/repositories/repo",
    "docker.europe-west1.rep.pkg.dev:443/example.com/proj/repo/app": "projects/example.com:proj/locations/europe-west1/repositories/repo",
    "us-docker.pkg.dev:443/my-project/repo/app": "projects/my-project/locations/us/repositories/repo",
    "eu.gcr.io:443/my-project/app": "projects/my-project/locations/europe/repositories/eu.gcr.io",
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
        "us-docker.pkg.dev:8443/p/r/i",
        "gcr.io:80/p/i",
        "docker.mars.rep.pkg.dev/p/r/i",
        "docker.us-central1.rep.pkg.dev.evil.com/p/r/i",
        "x.docker.us-central1.rep.pkg.dev/p/r/i",
        "gcr.io/my-project",
        "gcr.io/example.com/proj",
        "us-docker.pkg.dev/p/r/" + "a" * 10_000,
        "us-docker.pkg.dev/${PROJECT}/r/i",
    ],
)
def test_a_malformed_reference_is_no_image(reference: str) -> None:
    image = parse_image(reference)
    assert image is None or image.repository is None


@pytest.mark.parametrize(
    "reference",
    [
        "u-france-east1-docker.s3nsregistry.fr/s3ns/shop-web/apps/api:1",
        "s3nsregistry.fr/s3ns/shop-web/apps/api",
        "docker.u-france-east1.rep.s3nsregistry.fr/s3ns/shop-web/apps/api",
        "u-germany-northeast1-docker.pkg-berlin-build0.goog/eu0/shop/apps/api",
    ],
)
def test_a_sovereign_clouds_registry_is_artifact_registry_and_its_repository_unknown(reference: str) -> None:
    image = parse_image(reference)
    assert image
    assert (image.repository, image.sovereign) == (None, True)


@pytest.mark.parametrize(
    "reference", ["docker.io/library/nginx", "acme-docker.jfrog.io/a/b", "ghcr.io/a/b", "evil.com/a"]
)
def test_another_registry_is_no_sovereign_clouds(reference: str) -> None:
    image = parse_image(reference)
    assert image
    assert not image.sovereign


def test_two_spellings_of_one_host_name_one_image() -> None:
    hosts = ("us-central1-docker.pkg.dev", "us-central1-docker.pkg.dev:443", "docker.us-central1.rep.pkg.dev")
    images = [parse_image(f"{host}/p/r/i:v1") for host in hosts]
    assert all(one and images[0] and one.has_same_name(images[0]) for one in images)


def test_tag_and_digest_do_not_make_another_image() -> None:
    one, two = parse_image("us-docker.pkg.dev/p/r/i:v1"), parse_image("us-docker.pkg.dev/p/r/i@sha256:abcd")
    assert one
    assert two
    assert one.has_same_name(two)


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
