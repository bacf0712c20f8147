"""What an installation consists of: written by `make installation` from deploy/installation.yaml."""

APIS = (
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "iap.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)
"""The APIs that the installation's project must have enabled."""

CONDITIONAL_APIS = {"eventarc.googleapis.com": "eventarc", "policytroubleshooter.googleapis.com": "troubleshooter"}
"""Each API that it must have enabled under a condition, with the condition."""

NAMES = {
    "accounts": {
        "receiver": "<name>-receiver",
        "review": "<name>-review",
        "sweep": "<name>-sweep",
        "writer": "<name>-writer",
        "trigger": "<name>-trigger",
        "builder": "<name>-builder",
    },
    "roles": {
        "reader": "<camel>Reader",
        "writer": "<camel>Writer",
        "ledger": "<camel>Ledger",
        "ancestry": "<camel>Ancestry",
    },
    "topics": {
        "dead_letters": "<name>-dead-letters",
        "notices": "<name>-notices",
        "approvals": "<name>-approvals",
        "denials": "<name>-denials",
    },
    "subscriptions": {
        "dead_letters": "<name>-dead-letters",
        "approvals": "<name>-approvals",
        "denials": "<name>-denials",
    },
    "triggers": {"denials": "<name>-denials"},
    "sinks": {"denials": "<name>-denials", "view": "<name>-view", "trail": "<name>-trail", "writes": "<name>-writes"},
    "log_buckets": {"trail": "<name>-trail", "denials": "<name>-denials"},
    "log_views": {"denials": "<name>-denials"},
    "services": {"receiver": "<name>-receiver", "review": "<name>-review", "writer": "<name>-writer"},
    "jobs": {"sweep": "<name>-sweep", "due": "<name>-due"},
    "schedules": {"sweep": "<name>-sweep", "due": "<name>-due"},
    "databases": {"ledger": "<name>"},
    "secrets": {"review": "<name>-review"},
    "buckets": {"source": "<project>-<name>"},
    "repositories": {"images": "<name>"},
}
"""The names of the resources, by kind and part."""

METHODS = (
    "google.cloud.run.v1.Jobs.CreateJob",
    "google.cloud.run.v1.Jobs.ReplaceJob",
    "google.cloud.run.v1.Services.CreateService",
    "google.cloud.run.v1.Services.ReplaceService",
    "google.cloud.run.v2.Jobs.CreateJob",
    "google.cloud.run.v2.Jobs.UpdateJob",
    "google.cloud.run.v2.Services.CreateService",
    "google.cloud.run.v2.Services.UpdateService",
)
"""The calls whose audit log entries trigger Eventarc."""

ROLES = {
    "reader": (
        "artifactregistry.projectsettings.get",
        "artifactregistry.repositories.get",
        "artifactregistry.repositories.getIamPolicy",
        "iam.roles.get",
        "logging.logEntries.list",
        "resourcemanager.folders.get",
        "resourcemanager.folders.getIamPolicy",
        "resourcemanager.hierarchyNodes.listEffectiveTags",
        "resourcemanager.organizations.getIamPolicy",
        "resourcemanager.projects.get",
        "resourcemanager.projects.getIamPolicy",
    ),
    "writer": ("artifactregistry.repositories.getIamPolicy", "artifactregistry.repositories.setIamPolicy"),
    "ledger": (
        "datastore.databases.get",
        "datastore.entities.create",
        "datastore.entities.get",
        "datastore.entities.list",
        "datastore.entities.update",
    ),
    "ancestry": (
        "iam.roles.get",
        "resourcemanager.folders.get",
        "resourcemanager.folders.getIamPolicy",
        "resourcemanager.organizations.getIamPolicy",
    ),
}
"""The permissions of each custom role."""

ABOVE = (
    "resourcemanager.folders.get",
    "resourcemanager.folders.getIamPolicy",
    "resourcemanager.hierarchyNodes.listEffectiveTags",
    "resourcemanager.organizations.getIamPolicy",
)
"""The permissions that a role of a project cannot hold."""

TROUBLESHOOTER_ROLES = ("roles/iam.securityReviewer", "roles/iam.denyReviewer")
"""The roles that a call of Policy Troubleshooter needs."""

INDEXES = (
    ("state", "last_seen"),
    ("member", "last_seen"),
    ("repository", "last_seen"),
    ("member", "repository", "last_seen"),
    ("state", "member", "last_seen"),
    ("state", "repository", "last_seen"),
    ("state", "member", "repository", "last_seen"),
    ("state", "updated"),
    ("state", "member", "updated"),
    ("state", "repository", "updated"),
    ("state", "member", "repository", "updated"),
    ("state", "gathered", "updated"),
    ("state", "gathered", "last_seen"),
    ("gathered", "last_seen"),
    ("state", "gathered"),
)
"""The composite indexes of the collection `remediations`."""
