"""Reason codes: one stable enum for ignored, proposed, refused and granted denials, with a sentence each."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A stable code (its value) and the sentence that a person reads (`.sentence`)."""

    sentence: str

    def __new__(cls, code: str, sentence: str = "") -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member

    # Why an entry is ignored: what it is instead of an image-read denial from Cloud Run.
    NOT_AUDIT_LOG = "not_audit_log", "Not an audit log entry."
    NOT_CLOUD_RUN = "not_cloud_run", "Not from Cloud Run; only Cloud Run deploys are handled."
    POLICY_CHANGE = "policy_change", "An IAM policy change (for instance remediate's own grant), not a deploy."
    OTHER_LOG = "other_log", "Not from the deploying project's Admin Activity or System Event log."
    SUCCEEDED = "succeeded", "The call succeeded; nothing was denied."
    WARNING_ONLY = (
        "warning_only",
        "A warning from before 2025-01-15: the image was not readable, but the deploy succeeded.",
    )
    VPC_SERVICE_CONTROLS = "vpc_service_controls", "VPC Service Controls blocked the read; no grant helps."
    ORGANIZATION_POLICY = "organization_policy", "An organization policy blocked the deploy; no grant helps."
    BINARY_AUTHORIZATION = "binary_authorization", "Binary Authorization blocked the image; no grant helps."
    IMAGE_NOT_FOUND = "image_not_found", "The image does not exist; no grant helps."
    UNSUPPORTED_REGISTRY = "unsupported_registry", "Cloud Run does not support images from that registry."
    NOT_ARTIFACT_REGISTRY = (
        "not_artifact_registry",
        "The image is not in Artifact Registry (Docker Hub, for instance).",
    )
    REGISTRY_POLICY = (
        "registry_policy",
        "An organization policy blocks the registry; no grant helps. Ask an organization policy administrator.",
    )
    REGISTRY_API_DISABLED = (
        "registry_api_disabled",
        "The registry's API is disabled in the image's project; no grant helps. Enable the Artifact Registry API.",
    )
    REGISTRY_BILLING = (
        "registry_billing",
        "The image's project has no active billing; no grant helps. Enable billing for the project.",
    )
    REGISTRY_SHUT_DOWN = (
        "registry_shut_down",
        "Container Registry is shut down; no grant helps. Move the image to Artifact Registry.",
    )
    REGISTRY_BUSY = (
        "registry_busy",
        "The registry was over its quota or failed temporarily; no grant helps. Deploy again later.",
    )
    REGISTRY_UNAUTHENTICATED = (
        "registry_unauthenticated",
        "The registry received no credentials, so there is no member to grant access to.",
    )
    ACT_AS = "act_as", "The deployer lacks permission to act as the service's service account."
    ACCESS_TOKEN = "access_token", "The service agent lacks permission to get tokens for the service account."
    RUN_PERMISSION = "run_permission", "A Cloud Run permission is missing, not access to the image."
    SECRET_MANAGER = "secret_manager", "Access to a secret is missing."
    KMS = "kms", "Access to an encryption key is missing."
    UPLOAD_ARTIFACTS = "upload_artifacts", "Pushing an image was denied, not reading one."
    OTHER_PERMISSION = (
        "other_permission",
        "A permission is missing, but the error text does not say that it is for reading images.",
    )
    OTHER_FAILURE = "other_failure", "The deploy failed for a reason unrelated to reading the image."
    DUPLICATE = "duplicate", "This entry was read before."

    # Why a denial needs a reviewer: information is missing, or two sources disagree.
    REPOSITORY_UNKNOWN = "repository_unknown", "The entry does not name the repository that could not be read."
    MEMBER_UNKNOWN = "member_unknown", "The entry does not say who could not read the image."
    DEPLOYER_UNKNOWN = (
        "deployer_unknown",
        "The log does not say who deployed. Make sure it was not you: you cannot approve your own deploy.",
    )
    READER_UNKNOWN = (
        "reader_unknown",
        "The error text does not say whether the deployer or the service agent could not read the image.",
    )
    PROJECT_UNKNOWN = (
        "project_unknown",
        "The entry does not name the deploying project, so it is unknown whether the image is in that project.",
    )
    PROJECT_NUMBER_UNKNOWN = (
        "project_number_unknown",
        "The entry does not contain the deploying project's number, which identifies its service agent.",
    )
    PROJECT_MISMATCH = (
        "project_mismatch",
        "The log name, the entry and Resource Manager disagree on the deploying project.",
    )
    SOURCE_UNKNOWN = (
        "source_unknown",
        "The log name does not prove that the entry comes from the deploying project's audit log.",
    )
    UNAUTHORIZED_CALLER = (
        "unauthorized_caller",
        "The log does not show that the caller has permission to deploy this resource.",
    )
    IMAGE_MISMATCH = "image_mismatch", "The error text and the deploy name different images."
    MEMBER_MISMATCH = "member_mismatch", "The entry names two different identities as the denied member."
    UNUSUAL_STATUS = (
        "unusual_status",
        "The error text is an image-read denial, but Cloud Run does not use this status code for one.",
    )
    UNUSUAL_WORDING = (
        "unusual_wording",
        "Only part of the error text is recognized: a caller may have written the rest.",
    )
    UNUSUAL_FIELD = "unusual_field", "A relevant field of the entry has an unexpected type and was not read."
    DETAILS_MISMATCH = (
        "details_mismatch",
        "The error details name a different permission, service or resource than the error text.",
    )
    AGENT_IDENTITY = (
        "agent_identity",
        "The member is the identity of an AI agent, so a reviewer decides what it can read.",
    )

    # Why a decision was made.
    SAME_PROJECT = "same_project", "The image is in the deploying project; Cloud Run allowed this before 2025-01-15."
    CROSS_PROJECT = "cross_project", "The image is in a different project than the deploy."
    SHARED_IDENTITY = "shared_identity", "Many deploys share this identity; a grant applies to all of them."
    DRY_RUN = "dry_run", "Dry-run mode: nothing is granted without a reviewer's approval."
    PREDICTED = "predicted", "Predicted: once the deployer has access, Cloud Run's service agent will need it too."
    VIRTUAL_REPOSITORY = (
        "virtual_repository",
        "A virtual repository: access to it is enough, because its service agent reads the upstream repositories.",
    )
    REMOTE_REPOSITORY = (
        "remote_repository",
        "A remote repository: it caches another registry, and access to it covers every cached image.",
    )
    POLICY_REFUSES = "policy_refuses", "A rule of the policy file refuses it."
    EVIDENCE_UNKNOWN = "evidence_unknown", "The rule needs information that is unavailable, so a reviewer decides."
    REPOSITORY_UNSEEN = (
        "repository_unseen",
        "Registry not in `registries`: remediate may not see the repository.",
    )
    EVENT_UNVERIFIED = "event_unverified", "Could not verify the entry in Cloud Logging, so a reviewer decides."
    UNVERIFIED_EVENT = "unverified_event", "Cloud Logging has no such entry, or a different one: it may be forged."
    NOT_OPTED_IN = (
        "not_opted_in",
        "This registry is not opted in: its project does not have the tag that lets remediate grant there.",
    )
    IMAGE_UNCONFIRMED = "image_unconfirmed", "The error text and the deploy do not both name the image."
    NOT_DEPLOYED_BEFORE = (
        "not_deployed_before",
        "The member did not deploy from this repository within 400 days, and the registry's owner did not opt in to grants for newcomers.",
    )
    DEPLOYS_UNKNOWN = (
        "deploys_unknown",
        "Could not check whether the member deployed from this repository before.",
    )
    ACCESS_REMOVED = (
        "access_removed",
        "The member's access was removed, and its last deploy does not show that it can read again.",
    )
    ACCESS_REMOVED_UNKNOWN = (
        "access_removed_unknown",
        "Could not check whether the member's access was removed.",
    )
    MEMBER_OUTSIDE = "member_outside", "The member or the deployer does not belong to this organization."
    MEMBER_ORGANIZATION_UNKNOWN = (
        "member_organization_unknown",
        "Could not check whether the member and the deployer belong to this organization.",
    )
    MODE_UNKNOWN = "mode_unknown", "Could not check whether the repository is a standard one."
    INHERITED = (
        "inherited",
        "The member already has access through another role or a parent resource; wait for IAM, or look for another cause.",
    )
    BARRED = "barred", "A deny policy or a principal access boundary blocks the member from reading; no grant helps."
    TAKEN_AWAY = "taken_away", "An earlier grant was revoked or removed; a reviewer decides whether to restore it."
    OWN_SWITCH = (
        "own_switch",
        "The member or the deployer loosened the mode here within the last day; a reviewer decides.",
    )
    POLICY_UNCONFIRMED = (
        "policy_unconfirmed",
        "The policy file changed and the change is not confirmed yet; a reviewer decides.",
    )
    BRAKE = "brake", "Hourly limit for automatic grants reached; a reviewer decides."
    MEMBER_BRAKE = "member_brake", "Hourly limit for automatic grants to this member reached; a reviewer decides."
    OTHER_ORGANIZATION = "other_organization", "The repository belongs to another organization."
    ORGANIZATION_UNKNOWN = "organization_unknown", "Could not determine the organization of the repository's project."
    REPOSITORY_NOT_FOUND = "repository_not_found", "The repository does not exist."
    NOT_IMAGES = (
        "not_images",
        "The repository holds packages of another format, not container images; access to it fixes no deploy.",
    )
    FORMAT_UNKNOWN = "format_unknown", "Could not check the package format of the repository."
    NOT_REDIRECTED = (
        "not_redirected",
        "gcr.io addresses do not lead to this repository: redirection is off in its project.",
    )
    PUBLIC_MEMBER = "public_member", "allUsers and allAuthenticatedUsers never get a grant."
    DELETED_MEMBER = "deleted_member", "A deleted identity never gets a grant."
    GROUP_MEMBER = (
        "group_member",
        "Groups, domains and principal sets never get a grant: one denial, one member.",
    )
    ALREADY_GRANTED = (
        "already_granted",
        "The member is already in the repository's reader binding; look for another cause, or the denial is older.",
    )
    STILL_PROPAGATING = (
        "still_propagating",
        "Granted less than 15 minutes ago, and IAM may still be propagating it: deploy again in a few minutes.",
    )
    TERMINAL_ANSWER = "terminal_answer", "Google Cloud rejected the change; a retry does not help."


BRAKES = (Reason.BRAKE, Reason.MEMBER_BRAKE)
"""An hourly limit kept a rule from granting."""
BLOCKS = (Reason.REPOSITORY_UNSEEN, Reason.NOT_OPTED_IN)
"""Nobody can approve the proposal while one of these holds: an administrator must change the installation or a tag."""
HELD = (*BRAKES, Reason.OWN_SWITCH, Reason.POLICY_UNCONFIRMED)
"""Temporary reasons: they say when a rule cannot grant, not what a reviewer decides."""
