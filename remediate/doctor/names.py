"""An installation's project, region, name and scopes, and its resource names by deploy/installation.yaml."""

from __future__ import annotations

import re
import shlex

import msgspec

from remediate.doctor.installation import METHODS, NAMES
from remediate.errors import BadInput

IDENTITIES = tuple(NAMES["accounts"])
"""The service accounts, one for each task."""

QUOTA_APIS = (
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
)
"""The APIs that decisions call, and so the quotas that they use."""

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]\Z")
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]{1,2}\Z")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]\Z")
_SCOPE = re.compile(r"(?:organizations|folders)/[1-9][0-9]*\Z|projects/(?:[a-z0-9.-]+:)?[a-z0-9-]+\Z")
_BINDING_WORDS = {
    "projects": "projects",
    "folders": "resource-manager folders",
    "organizations": "organizations",
    "topics": "pubsub topics",
    "subscriptions": "pubsub subscriptions",
    "services": "run services",
    "jobs": "run jobs",
    "serviceAccounts": "iam service-accounts",
    "views": "logging views",
}
"""The gcloud words for an allow policy, by the collection of its resource."""


def command(*words: str) -> str:
    """The words as a command line, quoted for a shell."""
    return shlex.join(words)


class ResourceNames(msgspec.Struct, frozen=True):
    """One installation. `scopes`: the organization or the folders that it watches; empty for its own project alone."""

    project: str
    region: str
    name: str = "remediate"
    scopes: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The doctor's options that name this installation."""
        name = (f"--name={self.name}",) if self.name != "remediate" else ()
        return (f"--project={self.project}", f"--region={self.region}", *name, *map("--scope={}".format, self.scopes))

    @property
    def project_path(self) -> str:
        """`projects/P`."""
        return f"projects/{self.project}"

    @property
    def watched_scopes(self) -> tuple[str, ...]:
        """The scopes, or its own project where there are none."""
        return self.scopes or (self.project_path,)

    @property
    def has_sinks(self) -> bool:
        """Entries arrive by log sinks; a single project uses audit log triggers instead."""
        return not self.watched_scopes[0].startswith("projects/")

    @property
    def location_path(self) -> str:
        """`projects/P/locations/R`."""
        return f"{self.project_path}/locations/{self.region}"

    @property
    def topic(self) -> str:
        """The topic that the sinks write to."""
        return f"{self.project_path}/topics/{self._own('topics', 'denials')}"

    @property
    def triggers(self) -> tuple[str, ...]:
        """The Eventarc triggers: one on the topic, or one a method in a single project."""
        if self.has_sinks:
            return (f"{self.location_path}/triggers/{self._own('triggers', 'denials')}",)
        own = (method.removeprefix("google.cloud.run.").replace(".", "-").lower() for method in METHODS)
        return tuple(f"{self.location_path}/triggers/{self.name}-{each}" for each in own)

    @property
    def dead_letter_topic(self) -> str:
        """The topic of undeliverable messages."""
        return f"{self.project_path}/topics/{self._own('topics', 'dead_letters')}"

    @property
    def dead_letter_subscription(self) -> str:
        """The subscription to pull undeliverable messages from."""
        return f"{self.project_path}/subscriptions/{self._own('subscriptions', 'dead_letters')}"

    @property
    def push_subscription(self) -> str:
        """The subscription that calls the receiver where Eventarc does not deliver."""
        return f"{self.project_path}/subscriptions/{self._own('subscriptions', 'denials')}"

    @property
    def approvals_topic(self) -> str:
        """The topic that wakes the writer."""
        return f"{self.project_path}/topics/{self._own('topics', 'approvals')}"

    @property
    def approvals_subscription(self) -> str:
        """The subscription that calls the writer."""
        return f"{self.project_path}/subscriptions/{self._own('subscriptions', 'approvals')}"

    @property
    def trail_sink(self) -> str:
        """The sink that keeps the audit trail's log lines."""
        return f"{self.project_path}/sinks/{self._own('sinks', 'trail')}"

    def job(self, task: str = "sweep") -> str:
        """A sweep's Cloud Run job (`sweep` or `due`), and the Cloud Scheduler job that starts it."""
        return f"{self.location_path}/jobs/{self._own('jobs', task)}"

    @property
    def iap(self) -> str:
        """The review pages behind Identity-Aware Proxy; only the doctor uses this name (see `iap_resource`)."""
        return f"{self.location_path}/iap/{self.name}-review"

    def iap_resource(self, number: str) -> str:
        """Identity-Aware Proxy's own name for the review pages, by the project's number."""
        return f"projects/{number}/iap_web/cloud_run-{self.region}/services/{self.name}-review"

    def sink(self, scope: str) -> str:
        """The sink of a scope."""
        return f"{scope}/sinks/{self._own('sinks', 'denials')}"

    def view_sink(self, scope: str) -> str:
        """The sink of a scope that fills the log view's bucket."""
        return f"{scope}/sinks/{self._own('sinks', 'view')}"

    @property
    def log_view(self) -> str:
        """The log view that entries are read back from."""
        bucket = f"{self.location_path}/buckets/{self._own('log_buckets', 'denials')}"
        return f"{bucket}/views/{self._own('log_views', 'denials')}"

    def service(self, task: str) -> str:
        """The Cloud Run service of a task."""
        return f"{self.location_path}/services/{self._own('services', task)}"

    def account(self, task: str) -> str:
        """The email address of a task's service account; the synthetic denial's (`canary`) does not exist."""
        project = ".".join(reversed(self.project.split(":")))  # example.com:p is p.example.com in an address
        own = f"{self.name}-canary" if task == "canary" else self._own("accounts", task)
        return f"{own}@{project}.iam.gserviceaccount.com"

    def account_name(self, task: str) -> str:
        """The resource name of a task's service account."""
        return f"{self.project_path}/serviceAccounts/{self.account(task)}"

    def member(self, task: str) -> str:
        """A task's service account as an IAM member."""
        return f"serviceAccount:{self.account(task)}"

    def role(self, kind: str) -> str:
        """The id of a custom role."""
        return self._own("roles", kind.lower())

    def _own(self, kind: str, part: str) -> str:
        """The name of a resource by kind and part, with the installation's name as it is or in camel case."""
        first, *others = self.name.split("-")
        camel = first + "".join(word.title() for word in others)
        return NAMES[kind][part].replace("<name>", self.name).replace("<camel>", camel)

    def gcloud(self, *words: str) -> str:
        """A gcloud command in the installation's project."""
        return command("gcloud", *words, f"--project={self.project}")

    def update_part(self, task: str, *change: str, track: tuple[str, ...] = ()) -> str:
        """The command that updates the Cloud Run service or job of a task."""
        kind = "jobs" if task in NAMES["jobs"] else "services"
        words = (*track, "run", kind, "update", f"{self.name}-{task}", *change)
        return self.gcloud(*words, f"--region={self.region}")

    def change_binding(self, verb: str, resource: str, member: str, role: str, *flags: str) -> str:
        """The command to `add` or `remove` a member of a role in a resource's allow policy."""
        kind, own = resource.split("/")[-2:]
        grant = (f"--member={member}", f"--role={role}", *flags)
        change, region = f"{verb}-iam-policy-binding", f"--region={self.region}"
        if kind == "iap":
            target = ("--resource-type=cloud-run", f"--service={own}", region)
            return self.gcloud("beta", "iap", "web", change, *target, *grant)
        words = (*_BINDING_WORDS[kind].split(), change, own)
        if kind == "views":
            _, project, _, location, _, bucket, *_ = resource.split("/")
            in_bucket = (f"--bucket={bucket}", f"--location={location}", f"--project={project}")
            return command("gcloud", *words, *in_bucket, *grant)
        if kind in ("projects", "folders", "organizations"):
            return command("gcloud", *words, *grant)
        return self.gcloud(*words, *([region] if kind in ("services", "jobs") else []), *grant)


def resource_names(project: str, region: str, name: str, scopes: tuple[str, ...]) -> ResourceNames:
    """The names of this installation. Raises BadInput that names the option, its value and what is accepted."""
    for option, value, pattern, accepted in (
        ("--project", project, _PROJECT, "a project's id, as in remediate-ops"),
        ("--region", region, _REGION, "a region, as in europe-west1"),
        ("--name", name, _NAME, "the prefix of the installation's names, as in remediate"),
        *(("--scope", each, _SCOPE, "organizations/NUMBER, folders/NUMBER or projects/ID") for each in scopes),
    ):
        if not pattern.match(value):
            raise BadInput(f"{option} {value!r}: expected {accepted}")
    kinds = {scope.partition("/")[0] for scope in scopes}
    if len(kinds) > 1 or (len(scopes) > 1 and kinds != {"folders"}):
        raise BadInput("--scope: expected one organization, one project, or any number of folders")
    if kinds == {"projects"} and scopes != (f"projects/{project}",):
        raise BadInput(f"--scope {scopes[0]!r}: a project is watched from inside: expected projects/{project}")
    return ResourceNames(project, region, name, scopes)
