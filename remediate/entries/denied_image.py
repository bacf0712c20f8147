"""Determines which repository was denied from the text, details and structure of an entry, and what is doubtful.

In order of preference: the resource that the text names, the image that the text names, the only repository of the
deploy's containers. Parts that name the same thing must agree.
"""

from __future__ import annotations

import msgspec

from remediate.entries import deploy as deploys
from remediate.entries.deploy import Body, Deploy
from remediate.entries.error_text import ImageDenied
from remediate.iam.repository import Image, Repository, is_project_number, parse_image
from remediate.reasons import Reason

_MOST = 10  # containers that are read; Cloud Run allows ten


class DeniedImage(msgspec.Struct, frozen=True):
    """The repository and the image that could not be read; None means unknown."""

    repository: Repository | None
    image: str | None
    doubts: tuple[Reason, ...]
    confirmed: bool = False
    """Whether text and structure name the same image or repository."""
    number: str | None = None
    """The project number that text or details give, if the repository's project id comes from another part."""
    others: tuple[Repository, ...] = ()
    """The repositories of the other images that the text denies or that the deploy contains."""


class _Deployed(msgspec.Struct, frozen=True):
    """The images of a deploy: all as written, and the well-formed references among them."""

    written: tuple[str, ...]
    images: tuple[Image, ...]

    def inside(self, repository: Repository, where: Deploy) -> list[Image]:
        return [each for each in self.images if each.repository and _agree(each.repository, repository, where)]

    def has(self, image: Image | None) -> bool:
        return image is not None and any(image.has_same_name(other) for other in self.images)


def denied_image(
    body: Body, where: Deploy, said: ImageDenied, details: tuple[Repository, ...], *, split: bool
) -> DeniedImage:
    """The denied repository and image. `details` are the repositories that the status details name.

    Ignores the structure of a split entry, because its strings may be cut at any character.
    """
    deployed = _deployed(() if split else deploys.images(body))
    found = _one(body, where, said, details, deployed, split=split)
    if found.repository is None:
        return found
    further = [_one(body, where, each, (), deployed, split=split) for each in said.also[:_MOST]]
    doubts = dict.fromkeys([*found.doubts, *(doubt for each in further for doubt in each.doubts)])
    named = [each.repository for each in further if each.repository]
    named += [image.repository for image in deployed.images[:_MOST] if image.repository]
    others = dict.fromkeys(_canonical(each, None, where) for each in named if not _agree(each, found.repository, where))
    confirmed = found.confirmed and all(each.confirmed for each in further)
    return msgspec.structs.replace(found, doubts=tuple(doubts), others=tuple(others), confirmed=confirmed)


def _one(
    body: Body, where: Deploy, said: ImageDenied, details: tuple[Repository, ...], deployed: _Deployed, *, split: bool
) -> DeniedImage:
    """The repository and image that one sentence denies."""
    found = _by_text(body, where, said, details, deployed, split=split)
    doubts = list(found.doubts)
    if found.repository and (said.unread or any(not _agree(each, found.repository, where) for each in details)):
        doubts.append(Reason.IMAGE_MISMATCH)
    return msgspec.structs.replace(found, doubts=tuple(dict.fromkeys(doubts)))


def _by_text(
    body: Body, where: Deploy, said: ImageDenied, details: tuple[Repository, ...], deployed: _Deployed, *, split: bool
) -> DeniedImage:
    resources = said.repositories or details
    if said.image is not None:
        return _by_image(said.image, resources, where, deployed)
    doubts = (Reason.IMAGE_MISMATCH,) if len(resources) > 1 else ()
    if resources:
        return _by_resource(resources[0], where, deployed, doubts, named=True)
    note = None if deployed.written or split else deploys.annotated_image(body)
    if note and parse_image(note):
        deployed = _deployed((note,))
    repositories = {image.repository for image in deployed.images if image.repository}
    if len(repositories) != 1 or len(deployed.images) != len(deployed.written):
        return DeniedImage(None, None, (Reason.REPOSITORY_UNKNOWN,))
    return _by_resource(repositories.pop(), where, deployed, doubts, named=False)


def _by_resource(
    resource: Repository, where: Deploy, deployed: _Deployed, doubts: tuple[Reason, ...], *, named: bool
) -> DeniedImage:
    """The result if the repository is known but no image is: the deploy's images in that repository were denied."""
    inside = deployed.inside(resource, where)
    if deployed.written and not inside:
        doubts = (*doubts, Reason.IMAGE_MISMATCH)
    repository = _canonical(resource, inside[0].repository if inside else None, where)
    if len({each.repository for each in inside}) > 1:
        doubts = (*doubts, Reason.IMAGE_MISMATCH)  # one project number matches two project ids
    image = inside[0].reference if len(inside) == 1 else None
    confirmed = named and bool(inside) and not doubts
    return DeniedImage(repository, image, doubts, confirmed, _number_beside(resource, repository))


def _by_image(text: str, resources: tuple[Repository, ...], where: Deploy, deployed: _Deployed) -> DeniedImage:
    """The result if the text names the image."""
    image = parse_image(text)
    doubts = [Reason.IMAGE_MISMATCH] if len(resources) > 1 else []
    if deployed.written and not deployed.has(image):
        doubts.append(Reason.IMAGE_MISMATCH)
    named = image.repository if image else None
    resource = resources[0] if resources else None
    if resource is None and image is not None and named is None and not image.sovereign:
        return DeniedImage(None, None, (Reason.NOT_ARTIFACT_REGISTRY,))
    shown = text if image or _printable(text) else None
    if resource is None and named is None:
        return DeniedImage(None, shown, (Reason.REPOSITORY_UNKNOWN, *doubts))
    if resource and (image is None or named is None or not _agree(named, resource, where)):
        doubts.append(Reason.IMAGE_MISMATCH)
    best = resource or named
    assert best is not None
    confirmed = not doubts and deployed.has(image)
    repository = _canonical(best, named, where)
    return DeniedImage(repository, shown, tuple(dict.fromkeys(doubts)), confirmed, _number_beside(best, repository))


def _deployed(written: tuple[str, ...]) -> _Deployed:
    return _Deployed(written, tuple(image for text in written if (image := parse_image(text))))


def _agree(one: Repository, other: Repository, where: Deploy) -> bool:
    """Whether both can be the same repository.

    A project number and a project id contradict each other only if one of them is the deploying project's.
    """
    if (one.location, one.name) != (other.location, other.name):
        return False
    if is_project_number(one.project) == is_project_number(other.project):
        return one.project == other.project
    number, name = sorted((one.project, other.project), key=is_project_number, reverse=True)
    known = where.project is not None and where.number is not None
    return not known or (number == where.number) == (name == where.project)


def _canonical(best: Repository, other: Repository | None, where: Deploy) -> Repository:
    """The same repository with its project's id in place of the number, if the entry has the id."""
    if not is_project_number(best.project):
        return best
    if best.project == where.number and where.project:
        return msgspec.structs.replace(best, project=where.project)
    return other if other and _agree(best, other, where) else best


def _number_beside(named: Repository, repository: Repository) -> str | None:
    """The project number that was named, if the repository now has the id instead."""
    return named.project if named.project != repository.project else None


def _printable(text: str) -> bool:
    return len(text) <= 255 and text.isascii() and text.isprintable()
