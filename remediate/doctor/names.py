"""Where an installation is and what its parts are called: a project, a region, a name, and the scopes it watches.

The names are those of deploy/installation.yaml, as the module `installation` has them.
"""

from __future__ import annotations

import re

import msgspec

from remediate.doctor.installation import METHODS, NAMES
from remediate.errors import BadInput

IDENTITIES = tuple(NAMES["accounts"])
"""The service accounts, one for each task."""

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]\Z")
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]{1,2}\Z")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]\Z")
_SCOPE = re.compile(r"(?:organizations|folders)/[1-9][0-9]*\Z|projects/(?:[a-z0-9.-]+:)?[a-z0-9-]+\Z")


class Site(msgspec.Struct, frozen=True):
    """One installation. `scopes` is what it watches: an organization, folders, or (empty) its own project alone."""

    project: str
    region: str
    name: str = "remediate"
    scopes: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """How the doctor is told of it."""
        own = (f"--project={self.project}", f"--region={self.region}")
        return (
            *own,
            *([f"--name={self.name}"] if self.name != "remediate" else []),
            *map("--scope={}".format, self.scopes),
        )

    @property
    def here(self) -> str:
        """`projects/P`."""
        return f"projects/{self.project}"

    @property
    def watched(self) -> tuple[str, ...]:
        """What it watches; its own project where nothing else was said."""
        return self.scopes or (self.here,)

    @property
    def by_sink(self) -> bool:
        """Whether entries come by sinks; a single project is watched by audit log triggers."""
        return not self.watched[0].startswith("projects/")

    @property
    def place(self) -> str:
        """`projects/P/locations/R`."""
        return f"{self.here}/locations/{self.region}"

    @property
    def topic(self) -> str:
        """The topic that the sinks write to."""
        return f"{self.here}/topics/{self._called('topics', 'denials')}"

    @property
    def triggers(self) -> tuple[str, ...]:
        """The Eventarc triggers: one on the topic, or in a single project one for each method."""
        if self.by_sink:
            return (f"{self.place}/triggers/{self._called('triggers', 'denials')}",)
        own = (method.removeprefix("google.cloud.run.").replace(".", "-").lower() for method in METHODS)
        return tuple(f"{self.place}/triggers/{self.name}-{each}" for each in own)

    def sink(self, scope: str) -> str:
        """The sink of a scope."""
        return f"{scope}/sinks/{self._called('sinks', 'denials')}"

    def role(self, kind: str) -> str:
        """The id of a custom role: the name in camel case, and what it is for."""
        return self._called("roles", kind.lower())

    def _called(self, kind: str, part: str) -> str:
        """The name of a resource: what every name begins with, as it is or in camel case, and what it is for."""
        first, *others = self.name.split("-")
        camel = first + "".join(word.title() for word in others)
        return NAMES[kind][part].replace("<name>", self.name).replace("<camel>", camel)

    @property
    def dead_letter_topic(self) -> str:
        """Where undeliverable messages go."""
        return f"{self.here}/topics/{self._called('topics', 'dead_letters')}"

    @property
    def dead_letter_subscription(self) -> str:
        """Where a person pulls them from."""
        return f"{self.here}/subscriptions/{self._called('subscriptions', 'dead_letters')}"

    @property
    def trail_sink(self) -> str:
        """The sink that keeps the trail's lines."""
        return f"{self.here}/sinks/{self._called('sinks', 'trail')}"

    def service(self, task: str) -> str:
        """The Cloud Run service of a task."""
        return f"{self.place}/services/{self._called('services', task)}"

    @property
    def job(self) -> str:
        """The sweep: the Cloud Run job and the schedule that starts it have one name, each in its own API."""
        return f"{self.place}/jobs/{self._called('jobs', 'sweep')}"

    def account(self, task: str) -> str:
        """The address of a task's service account. The synthetic denial names that of `canary`, which nobody has."""
        project = ".".join(reversed(self.project.split(":")))  # example.com:p is p.example.com in an address
        own = f"{self.name}-canary" if task == "canary" else self._called("accounts", task)
        return f"{own}@{project}.iam.gserviceaccount.com"


def site(project: str, region: str, name: str, scopes: tuple[str, ...]) -> Site:
    """The installation of these. Raises BadInput that names the option, its value and what is accepted."""
    for option, value, pattern, accepted in (
        ("--project", project, _PROJECT, "a project's id, as in remediate-ops"),
        ("--region", region, _REGION, "a region, as in europe-west1"),
        ("--name", name, _NAME, "what the installation's names begin with, as in remediate"),
        *(("--scope", each, _SCOPE, "organizations/NUMBER, folders/NUMBER or projects/ID") for each in scopes),
    ):
        if not pattern.match(value):
            raise BadInput(f"{option} {value!r}: expected {accepted}")
    kinds = {scope.partition("/")[0] for scope in scopes}
    if len(kinds) > 1 or (len(scopes) > 1 and kinds != {"folders"}):
        raise BadInput("--scope: expected one organization, one project, or any number of folders")
    if kinds == {"projects"} and scopes != (f"projects/{project}",):
        raise BadInput(f"--scope {scopes[0]!r}: a project is watched from inside it: expected projects/{project}")
    return Site(project, region, name, scopes)


def policy_words(name: str, verb: str) -> tuple[str, ...]:
    """The gcloud words that `add` to, or `remove` from, the allow policy of a project, folder or organization."""
    kind, _, own = name.partition("/")
    words = {"organizations": ("organizations",), "folders": ("resource-manager", "folders"), "projects": ("projects",)}
    return (*words[kind], f"{verb}-iam-policy-binding", own)
