"""The stable codes that say why: one enum for what is ignored, asked, refused and granted, each with a sentence."""

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

    # Why an entry is ignored: it is not an image-read denial of Cloud Run, and this is what it is instead.
    NOT_AUDIT_LOG = "not_audit_log", "Not an audit log entry."
    NOT_CLOUD_RUN = (
        "not_cloud_run",
        "Another service than Cloud Run said this; only Cloud Run deploys are cured here.",
    )
    POLICY_CHANGE = "policy_change", "An IAM policy change (for instance our own grant), not a deploy."
    OTHER_LOG = "other_log", "Not from the deploying project's Admin Activity or System Event log."
    SUCCEEDED = "succeeded", "The call succeeded; nothing was denied."
    WARNING_ONLY = (
        "warning_only",
        "The warning of before 2025-01-15: the image was not readable, but the deploy went through.",
    )
    VPC_SERVICE_CONTROLS = "vpc_service_controls", "VPC Service Controls stopped the read; no grant helps."
    ORGANIZATION_POLICY = "organization_policy", "An organization policy refused the deploy; no grant helps."
    BINARY_AUTHORIZATION = "binary_authorization", "Binary Authorization stopped the image; no grant helps."
    IMAGE_NOT_FOUND = "image_not_found", "The image does not exist; no grant helps."
    UNSUPPORTED_REGISTRY = "unsupported_registry", "Cloud Run does not take images of that registry."
    NOT_ARTIFACT_REGISTRY = (
        "not_artifact_registry",
        "The image is not in Artifact Registry (Docker Hub, for instance).",
    )
    REGISTRY_POLICY = (
        "registry_policy",
        "An organization policy stops the registry; no grant helps. Ask who administers the organization's policies.",
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
        "The registry was over its quota, or failed, for a moment; no grant helps. Deploy again later.",
    )
    REGISTRY_UNAUTHENTICATED = (
        "registry_unauthenticated",
        "The registry was asked without credentials, so there is no member to grant to.",
    )
    ACT_AS = "act_as", "The deployer may not act as the service's service account."
    ACCESS_TOKEN = "access_token", "The service agent may not get tokens for the service account."
    RUN_PERMISSION = "run_permission", "A Cloud Run permission is missing, not the image's."
    SECRET_MANAGER = "secret_manager", "A secret may not be read."
    KMS = "kms", "An encryption key may not be used."
    UPLOAD_ARTIFACTS = "upload_artifacts", "Pushing an image was denied, not reading one."
    OTHER_PERMISSION = (
        "other_permission",
        "A permission is missing, and the text does not say that it is reading images.",
    )
    OTHER_FAILURE = (
        "other_failure",
        "The deploy failed for a reason that has nothing to do with reading the image.",
    )
    DUPLICATE = "duplicate", "The same entry was already read."

    # Why a denial cannot be acted on as it stands: something is not known, or two witnesses disagree.
    REPOSITORY_UNKNOWN = "repository_unknown", "The entry does not tell which repository could not be read."
    MEMBER_UNKNOWN = "member_unknown", "The entry does not tell who could not read the image."
    DEPLOYER_UNKNOWN = (
        "deployer_unknown",
        "Nobody knows who deployed, so look that it was not you: nobody approves their own deploy.",
    )
    READER_UNKNOWN = (
        "reader_unknown",
        "The text does not tell whether the deployer or the service agent could not read the image.",
    )
    PROJECT_UNKNOWN = (
        "project_unknown",
        "The deploying project is not in the entry, so nobody can tell whether the image is its own.",
    )
    PROJECT_NUMBER_UNKNOWN = (
        "project_number_unknown",
        "The deploying project's number, and so its service agent, is not in the entry.",
    )
    PROJECT_MISMATCH = (
        "project_mismatch",
        "Log, entry and Resource Manager do not agree on the deploying project.",
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
    MEMBER_MISMATCH = (
        "member_mismatch",
        "The entry names two different identities for the one that was denied.",
    )
    UNUSUAL_STATUS = (
        "unusual_status",
        "The text is an image denial, but the status code is not one that Cloud Run uses for it.",
    )
    UNUSUAL_WORDING = (
        "unusual_wording",
        "The error text is not one of the known ones as a whole: part of it may be what a caller typed.",
    )
    UNUSUAL_FIELD = (
        "unusual_field",
        "A field of the entry that matters has an unusual type and was not read.",
    )
    DETAILS_MISMATCH = (
        "details_mismatch",
        "The error's details name another permission, service or resource than its text.",
    )
    AGENT_IDENTITY = (
        "agent_identity",
        "The member is the identity of an AI agent, so a reviewer decides what it may read.",
    )

    # Why it was decided as it was.
    SAME_PROJECT = (
        "same_project",
        "The image lies in the deploying project itself, as Cloud Run allowed before 2025-01-15.",
    )
    CROSS_PROJECT = "cross_project", "The image lies in another project than the one deployed to."
    SHARED_IDENTITY = (
        "shared_identity",
        "The member is an identity that many deploys share; a grant reaches all of them.",
    )
    DRY_RUN = "dry_run", "Dry-run mode: nothing is granted without a reviewer's approval."
    PREDICTED = (
        "predicted",
        "Not denied yet: the Cloud Run service agent will be, once the deployer can read the image.",
    )
    VIRTUAL_REPOSITORY = (
        "virtual_repository",
        "A virtual repository: reader on it is enough, its own service agent reads the ones behind it.",
    )
    REMOTE_REPOSITORY = (
        "remote_repository",
        "A remote repository: it keeps copies of another registry, and reader on it opens all of them.",
    )
    POLICY_REFUSES = "policy_refuses", "A rule of the policy file refuses it."
    EVIDENCE_UNKNOWN = (
        "evidence_unknown",
        "The rule hangs on something that is not known, so a person decides.",
    )
    REPOSITORY_UNSEEN = "repository_unseen", "Whether the repository exists could not be learnt."
    EVENT_UNVERIFIED = (
        "event_unverified",
        "The entry was not read back from Cloud Logging, so nothing is granted on it without a person.",
    )
    UNVERIFIED_EVENT = "unverified_event", "Cloud Logging does not have this entry, or has another text under its name."
    NOT_OPTED_IN = (
        "not_opted_in",
        "The registry project does not have the opt-in tag for automatic grants.",
    )
    IMAGE_UNCONFIRMED = "image_unconfirmed", "The error text and the deploy do not both name the image."
    NOT_DEPLOYED_BEFORE = (
        "not_deployed_before",
        "The member did not deploy from this repository within 400 days, and the registry's owner did not opt in to newcomers.",
    )
    DEPLOYS_UNKNOWN = (
        "deploys_unknown",
        "Could not check whether the member deployed from this repository before.",
    )
    ACCESS_REMOVED = "access_removed", "The member's access was removed after its last deploy from this repository."
    ACCESS_REMOVED_UNKNOWN = (
        "access_removed_unknown",
        "Could not check whether the member's access was removed after its last deploy.",
    )
    MEMBER_OUTSIDE = "member_outside", "The member, or who deployed, does not belong to this organization."
    MEMBER_ORGANIZATION_UNKNOWN = (
        "member_organization_unknown",
        "Could not check whether the member, and who deployed, belong to this organization.",
    )
    MODE_UNKNOWN = "mode_unknown", "Could not check whether the repository is a standard one."
    INHERITED = (
        "inherited",
        "The member can read the repository already, by another role or from further up: IAM's delay, or another cause.",
    )
    BARRED = (
        "barred",
        "A deny policy or a principal access boundary keeps the member from reading; no grant helps.",
    )
    TAKEN_AWAY = (
        "taken_away",
        "It was granted before, and somebody took it away; a person decides whether it comes back.",
    )
    OWN_SWITCH = (
        "own_switch",
        "The member, or the deployer, loosened the mode here within the last day; a reviewer decides.",
    )
    POLICY_UNCONFIRMED = (
        "policy_unconfirmed",
        "The text of the policy file changed and is not confirmed yet; a reviewer decides.",
    )
    BRAKE = "brake", "More grants were made by rules within an hour than the limit allows; a person decides."
    MEMBER_BRAKE = (
        "member_brake",
        "More grants were made by rules to this member within an hour than the limit allows; a person decides.",
    )
    OTHER_ORGANIZATION = "other_organization", "The repository belongs to another organization."
    ORGANIZATION_UNKNOWN = (
        "organization_unknown",
        "The organization of the repository's project cannot be told.",
    )
    REPOSITORY_NOT_FOUND = "repository_not_found", "The repository does not exist."
    NOT_IMAGES = (
        "not_images",
        "The repository holds packages of another format, not container images; reading it cures no deploy.",
    )
    FORMAT_UNKNOWN = "format_unknown", "What kind of packages the repository holds could not be learnt."
    NOT_REDIRECTED = (
        "not_redirected",
        "gcr.io's addresses do not lead to this repository: redirection is switched off in its project.",
    )
    PUBLIC_MEMBER = "public_member", "allUsers and allAuthenticatedUsers never get a grant."
    DELETED_MEMBER = "deleted_member", "A deleted identity never gets a grant."
    GROUP_MEMBER = (
        "group_member",
        "Groups, domains and principal sets never get a grant: one denial, one member.",
    )
    ALREADY_GRANTED = (
        "already_granted",
        "The member is already in the repository's reader binding; another cause, or an older denial.",
    )
    STILL_PROPAGATING = (
        "still_propagating",
        "Granted less than 15 minutes ago, and IAM may not know it everywhere yet: deploy again in a few minutes.",
    )
    TERMINAL_ANSWER = "terminal_answer", "Google Cloud refused the change for good."


BRAKES = (Reason.BRAKE, Reason.MEMBER_BRAKE)
"""Reasons of what a rule would have granted, had it not granted so much this hour."""
HELD = (*BRAKES, Reason.OWN_SWITCH, Reason.POLICY_UNCONFIRMED)
"""Reasons that pass: they say when a rule may not grant, not what a reviewer decides about."""
