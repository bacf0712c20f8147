"""What blocks a proposal: a reason for which nobody can approve it, and what an administrator changes to end it."""

from __future__ import annotations

from collections.abc import Iterable

from remediate.iam.repository import Repository
from remediate.reasons import BLOCKS, Reason


def blocks_in(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Those of the reasons for which nobody can approve the proposal."""
    return tuple(each for each in BLOCKS if each in set(reasons))


def cure_of(block: Reason, repository: Repository, opt_in_tag: str | None) -> str:
    """What to do about a block. `opt_in_tag` is REMEDIATE_OPT_IN_TAG."""
    project = repository.project
    if block is Reason.REPOSITORY_UNSEEN:
        return (
            f"If projects/{project} is yours, and the installation watches folders: add it, or a folder above it, to "
            "`registries` and apply; the next sweep decides again. An installation for a single project sees no other: "
            "grant it by hand. If it is not yours, reject the proposal."
        )
    value = (opt_in_tag or "TAG_VALUE").partition(",")[0]
    return (
        f"Its owner opts in: gcloud resource-manager tags bindings create --tag-value={value} "
        f"--parent=//cloudresourcemanager.googleapis.com/projects/$(gcloud projects describe {project} "
        "--format='value(projectNumber)'); the next sweep decides again."
    )
