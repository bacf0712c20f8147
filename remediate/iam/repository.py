"""Parses an image reference and finds the Artifact Registry repository of the image.

Source of the forms: "Repository and image names" (Artifact Registry), "Transition from Container Registry", and the
Cloud SDK's regional endpoints (`docker.LOCATION.rep.pkg.dev`).
"""

from __future__ import annotations

import re

import msgspec

_MAX_REFERENCE = 1024  # characters; a name has at most 255, a tag 128, a digest 135

# A new project id has six to thirty characters; older and Google-owned ones can be shorter, so only the shape is
# checked. A domain-scoped id is `example.com:proj`, written `example.com/proj` inside an image's path.
_DOMAIN = r"[a-z0-9][a-z0-9-]*(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
_NAME = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PROJECT = re.compile(rf"(?:(?:{_DOMAIN}:)?{_NAME}|[1-9][0-9]{{0,18}})\Z")
_PROJECT_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z")
_LOCATION = re.compile(r"(?:us|europe|asia|[a-z]+-[a-z]+[0-9]{1,2})\Z")
_REPOSITORY = re.compile(r"[a-z](?:[a-z0-9.-]{0,61}[a-z0-9])?\Z")

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?\Z")
_PKG_DEV = re.compile(r"(?:([a-z0-9-]+)-docker|docker\.([a-z0-9-]+)\.rep)\.pkg\.dev\Z")
# Artifact Registry of a sovereign cloud: the same names under another domain, with separate projects.
_REGION = r"(?:[a-z]+-){1,3}[a-z]+[0-9]{1,2}"
_SOVEREIGN = re.compile(
    rf"(?:{_REGION}-docker\.|docker\.{_REGION}\.rep\.)(?:[a-z0-9-]+\.)+[a-z]{{2,63}}\Z|(?:[a-z0-9-]+\.)*s3nsregistry\.fr\Z"
)
_COMPONENT = re.compile(r"[A-Za-z0-9]+(?:(?:[._]|__|-+)[A-Za-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9A-Fa-f]{1,128}\Z")
_RESOURCE = re.compile(r"projects/([^/]+)/locations/([^/]+)/repositories/([^/]+)\Z")

# "Transition from Container Registry": which repository serves a gcr.io host, always in the same project.
_GCR_LOCATION = {"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}


def is_project(text: str) -> bool:
    """Whether `text` has the shape of a project id (domain-scoped ones too) or a project number."""
    return _PROJECT.match(text) is not None


def is_project_number(text: str) -> bool:
    """Whether `text` has the shape of a project number: only digits."""
    return _PROJECT_NUMBER.match(text) is not None


def is_location(text: str) -> bool:
    """Whether `text` has the shape of a region, or is one of Artifact Registry's multi-regions."""
    return _LOCATION.match(text) is not None


class Repository(msgspec.Struct, frozen=True, order=True):
    """An Artifact Registry repository; `str()` is its resource name. `project` is an id or a number."""

    project: str
    location: str
    name: str

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/repositories/{self.name}"

    @property
    def is_gcr_io(self) -> bool:
        """Whether this repository serves a gcr.io address."""
        return _GCR_LOCATION.get(self.name) == self.location

    @classmethod
    def parse(cls, resource: str) -> Repository | None:
        """The repository with this resource name (`projects/P/locations/L/repositories/R`); None if it is not valid."""
        match = _RESOURCE.match(resource)
        return cls.of(*match.groups()) if match else None

    @classmethod
    def of(cls, project: str, location: str, name: str) -> Repository | None:
        """The repository with this project, location and name; None if one of them is not valid."""
        if is_project(project) and is_location(location) and _REPOSITORY.match(name) and ".." not in name:
            return cls(project, location, name)
        return None


class Image(msgspec.Struct, frozen=True):
    """A well-formed image reference. `repository` is None if the image is not in Artifact Registry."""

    reference: str
    repository: Repository | None
    path: str
    """The image's name inside its repository or registry, without tag and digest."""
    sovereign: bool = False
    """Whether the image is in a sovereign cloud's Artifact Registry. `repository` is then None too."""

    def has_same_name(self, other: Image) -> bool:
        """Whether both name the same image. Ignores tag and digest, because Cloud Run resolves a tag to a digest."""
        return (self.repository, self.path) == (other.repository, other.path)


def parse_image(reference: str) -> Image | None:
    """The image that `reference` names; None if the reference is malformed."""
    if len(reference) > _MAX_REFERENCE:
        return None
    name, at, digest = reference.partition("@")
    if at and not _DIGEST.match(digest):
        return None
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.match(tag):
        return None
    host, *path = f"{head}{slash}{last}".split("/")
    if not path or not ("." in host or ":" in host or host == "localhost"):
        host, path = "docker.io", [host, *path]  # a bare name is Docker Hub's
        if any(component.lower() != component for component in path):
            return None
    if not _HOST.match(host) or not all(_COMPONENT.match(component) for component in path):
        return None
    host, _, port = host.partition(":")
    location = _GCR_LOCATION.get(host)
    pkg_dev = _PKG_DEV.match(host)
    if port and port != "443":
        if location or pkg_dev:
            return None  # Google's registries serve only port 443
        host = f"{host}:{port}"
    if location:
        return _in_project(reference, path, location, host)
    if pkg_dev:
        return _in_project(reference, path, pkg_dev[1] or pkg_dev[2], None)
    if host == "pkg.dev" or host.endswith(".pkg.dev"):
        return None  # Artifact Registry, but not the host of Docker repositories
    return Image(reference, None, "/".join([host, *path]), sovereign=_SOVEREIGN.match(host) is not None)


def _in_project(reference: str, path: list[str], location: str, name: str | None) -> Image | None:
    """Split the path into project (one component, or two if domain-scoped), repository and image."""
    if "." in path[0]:
        if len(path) < 2:
            return None
        path = [f"{path[0]}:{path[1]}", *path[2:]]
    project, *rest = path
    if name is None:
        if not rest:
            return None
        name, *rest = rest
    repository = Repository.of(project, location, name)
    return Image(reference, repository, "/".join(rest)) if repository and rest else None
