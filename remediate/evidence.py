"""Turns a denial into what Google Cloud says about it now: which projects, inside our organization, already a reader.

What cannot be learnt is None, "not known", and never "no"; a passing fault is raised, so that the event comes again.
"""

from __future__ import annotations

import msgspec

from remediate.cloud.interface import Project, Projects, Registry
from remediate.denial import Denial
from remediate.image import Repository, is_project_number
from remediate.modes import Place
from remediate.policy import Evidence


class Investigator:
    """Asks Google Cloud what a decision stands on. `organization` is ours; None where none is configured."""

    def __init__(self, registry: Registry, projects: Projects, organization: str | None) -> None:
        self._registry = registry
        self._projects = projects
        self._organization = organization

    def identified(self, denial: Denial) -> Denial:
        """The denial with project ids in place of numbers, and with the deploying project's number."""
        repository, deploy = denial.repository, denial.deploy
        if repository and is_project_number(repository.project) and (owner := self._projects.find(repository.project)):
            repository = msgspec.structs.replace(repository, project=owner.id)
        name = deploy.project or deploy.number
        if name and None in (deploy.project, deploy.number) and (found := self._projects.find(name)):
            deploy = msgspec.structs.replace(deploy, project=found.id, number=found.number)
        return msgspec.structs.replace(denial, repository=repository, deploy=deploy)

    def evidence(self, denial: Denial, *, propagating: bool = False, denials: int = 1) -> Evidence:
        """What a denial with repository and member is decided on. Raises TerminalFault where Google says no."""
        assert denial.repository is not None
        assert denial.member is not None
        inside = self._inside(denial.repository)
        exists = self._registry.exists(denial.repository) if inside else None
        already = self._registry.has_reader(denial.repository, denial.member) if exists else None
        return Evidence(
            repository_exists=exists,
            inside_organization=inside,
            opted_in=True,
            already_granted=already,
            propagating=propagating,
            verified=True,
            denials=denials,
            deploy_ancestors=self._ancestors(denial.deploy.project or denial.deploy.number),
            image_ancestors=self._ancestors(denial.repository.project),
        )

    def _ancestors(self, name: str | None) -> tuple[str, ...] | None:
        project = self._projects.find(name) if name else None
        if project is None or not _organization_known(project):
            return None
        return (f"projects/{project.id}", *project.ancestors)

    def places(self, denial: Denial) -> list[Place]:
        """Where the deploying project and the repository's lie, for the mode in force there."""
        deployed = denial.deploy.project or denial.deploy.number
        names = [deployed, denial.repository.project if denial.repository else None]
        return [self._place(name) for name in dict.fromkeys(names)]

    def _place(self, name: str | None) -> Place:
        project = self._projects.find(name) if name else None
        if project is None:
            return Place(frozenset({f"projects/{name}"} if name else ()), whole=False)
        own = {f"projects/{project.id}", f"projects/{project.number}"}
        return Place(frozenset({*own, *project.ancestors}), whole=_organization_known(project))

    def _inside(self, repository: Repository) -> bool | None:
        """Whether the repository lies inside our organization; None where it cannot be told."""
        if self._organization is None:
            return True
        project = self._projects.find(repository.project)
        if project is None or not _organization_known(project):
            return None
        return project.organization == self._organization


def _organization_known(project: Project) -> bool:
    return project.organization is not msgspec.UNSET
