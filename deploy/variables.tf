# You set project, region, scope and reviewers, and usually mode. The others have defaults.

variable "project" {
  description = "The project that the service runs in. Use a separate project: its administrators administer the service."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: expected a project's id, such as remediate-ops."
  }
}

variable "region" {
  description = "The region for all services and data, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: expected a region, such as europe-west1."
  }
}

variable "build_region" {
  description = "Where the image is built: \"global\", or a region. New projects may build in some regions only."
  type        = string
  default     = "global"
  nullable    = false

  validation {
    condition     = can(regex("^(global|[a-z]+-[a-z]+[0-9]+)$", var.build_region))
    error_message = "build_region: expected global, or a region, such as europe-west1."
  }
}

variable "build_revision" {
  description = "Change it to build the same version anew with today's base image: a date, such as 2026-12-01."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]{0,30}$", var.build_revision))
    error_message = "build_revision: expected up to 30 lower-case letters, digits and hyphens, such as 2026-12-01."
  }
}

variable "scope" {
  description = "The watched scope: [\"organizations/N\"], [\"folders/N\", ...], or [\"projects/ID\"], which must be this project."
  type        = list(string)
  nullable    = false

  validation {
    condition = (
      alltrue([for each in var.scope : can(regex("^(organizations|folders)/[1-9][0-9]*$|^projects/[a-z][a-z0-9-]+$", each))])
      && length(var.scope) > 0
      && length(distinct([for each in var.scope : split("/", each)[0]])) == 1
      && (startswith(try(var.scope[0], ""), "folders/") || length(var.scope) == 1)
    )
    error_message = "scope: expected one organizations/NUMBER, any number of folders/NUMBER, or one projects/ID."
  }

  validation {
    condition     = !startswith(try(var.scope[0], ""), "projects/") || try(var.scope[0], "") == "projects/${var.project}"
    error_message = "scope: expected projects/ID of the project that the service runs in."
  }
}

variable "reviewers" {
  description = "Who decides: addresses, group:ADDRESS, or whole domains. Identity-Aware Proxy admits only them, and it alone knows who is in a group."
  type        = list(string)
  nullable    = false

  validation {
    condition = length(var.reviewers) > 0 && alltrue([
      for each in var.reviewers : can(regex("^(group:)?[^@:/\\s,]+@[a-z0-9.-]+$|^[a-z0-9-]+(\\.[a-z0-9-]+)+$", each))
    ])
    error_message = "reviewers: expected addresses (ana@example.com), domains (example.com) or groups (group:platform@example.com)."
  }
}

variable "mode" {
  description = "dry-run: everything is proposed, and the receiver may write nothing anywhere; enforce: the receiver may write what the rules grant."
  type        = string
  default     = "dry-run"

  validation {
    condition     = contains(["dry-run", "enforce"], var.mode)
    error_message = "mode: expected dry-run or enforce."
  }
}

variable "delivery" {
  description = "How entries reach the receiver. eventarc: by a trigger of Eventarc, which makes the subscription itself. push: by a Pub/Sub push subscription of Terraform's own, without Eventarc."
  type        = string
  default     = "eventarc"
  nullable    = false

  validation {
    condition     = contains(["eventarc", "push"], var.delivery)
    error_message = "delivery: expected eventarc or push."
  }
}

# What the service may write, and by which rules

variable "registries" {
  description = "Where images outside of the watched folders are: [\"projects/ID\", \"folders/N\", ...]. The service may see these repositories, and grant there."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.registries : can(regex("^folders/[1-9][0-9]*$|^projects/[a-z][a-z0-9-]+$", each))])
    error_message = "registries: expected projects/ID or folders/NUMBER."
  }

  validation {
    condition     = length(var.registries) == 0 || startswith(try(var.scope[0], ""), "folders/")
    error_message = "registries: expected none but for watched folders: an organization contains its registries, and a project's own role reaches no other project."
  }

  validation {
    condition     = length(setintersection(var.registries, var.scope)) == 0
    error_message = "registries: expected only what scope does not name."
  }
}

variable "registry_opt_in" {
  description = "tag: the service may change only repositories in projects that have the tag, with the value yes or deployers; IAM itself checks that. none: any repository in scope. null: tag, but none for a single project."
  type        = string
  default     = null

  validation {
    condition     = contains(["none", "tag"], coalesce(var.registry_opt_in, "none"))
    error_message = "registry_opt_in: expected none or tag."
  }

  validation {
    condition     = coalesce(var.registry_opt_in, "none") == "none" || !startswith(try(var.scope[0], ""), "projects/")
    error_message = "registry_opt_in: expected none for a single project: tags belong to an organization."
  }
}

variable "deny_policy" {
  description = "A second lock: a deny policy of the organization lets no service account of this project change a policy where the tag is missing, even with a role that allows it. Needs roles/iam.denyAdmin on the organization. Run Terraform as a person then, or as a service account of another project: one of this project could not set the image repository's policy."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.deny_policy || (coalesce(var.registry_opt_in, "tag") == "tag" && !startswith(try(var.scope[0], ""), "projects/"))
    error_message = "deny_policy: expected false without registry_opt_in = tag: the tag says where the policy lets through."
  }
}

variable "policy_file" {
  description = "Your policy file (docs/policy.md), uploaded unchanged; null: the built-in rules decide."
  type        = string
  default     = null
}

variable "operators" {
  description = "Addresses of those who may loosen the mode, or confirm a policy text, without a second person."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.operators : can(regex("^[^@:/\\s,]+@([a-z0-9-]+\\.)+[a-z]{2,63}$", each))])
    error_message = "operators: expected addresses, such as ana@example.com."
  }
}

variable "domains" {
  description = "Your organization's own domains. People of other domains are outside, and rules ask about them; empty: rules ask about all people."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.domains : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,63}$", each))])
    error_message = "domains: expected domains in lower case, such as example.com."
  }
}

variable "workforce_pools" {
  description = "The ids of your organization's own workforce pools. Identities of other pools are outside, and rules ask about them; empty: rules ask about all."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.workforce_pools : can(regex("^[a-z][a-z0-9-]{2,62}$", each))])
    error_message = "workforce_pools: expected ids of workforce pools, such as my-company."
  }
}

variable "grant_days" {
  description = "Days that a grant by the built-in rule lasts; the sweep renews it if the member deployed again."
  type        = number
  default     = 90

  validation {
    condition     = var.grant_days >= 1 && var.grant_days <= 3650
    error_message = "grant_days: expected 1 to 3650."
  }
}

variable "grants_an_hour" {
  description = "The most grants that rules may make in an hour; beyond that a reviewer decides."
  type        = number
  default     = 60

  validation {
    condition     = var.grants_an_hour >= 1 && var.grants_an_hour <= 10000 && floor(var.grants_an_hour) == var.grants_an_hour
    error_message = "grants_an_hour: expected a whole number from 1 to 10000."
  }
}

variable "grants_to_a_member" {
  description = "The most grants of grants_an_hour to one member."
  type        = number
  default     = 10

  validation {
    condition     = var.grants_to_a_member >= 1 && var.grants_to_a_member <= 10000 && floor(var.grants_to_a_member) == var.grants_to_a_member
    error_message = "grants_to_a_member: expected a whole number from 1 to 10000."
  }
}

variable "proposals_an_hour" {
  description = "The most proposals that one project's denials may open in an hour with a notice and an inbox row each; further ones share one of each."
  type        = number
  default     = 30

  validation {
    condition     = var.proposals_an_hour >= 1 && var.proposals_an_hour <= 10000 && floor(var.proposals_an_hour) == var.proposals_an_hour
    error_message = "proposals_an_hour: expected a whole number from 1 to 10000."
  }
}

variable "troubleshooter" {
  description = "Ask Policy Troubleshooter about deny policies. It needs roles/iam.securityReviewer and roles/iam.denyReviewer, which read a lot, so it is off."
  type        = bool
  default     = false

  validation {
    condition     = !var.troubleshooter || !startswith(try(var.scope[0], ""), "projects/")
    error_message = "troubleshooter: expected false for a single project: it needs roles on the organization or folder."
  }
}

variable "unknown_deployer" {
  description = "What an approval needs if the log does not say who deployed: two different reviewers (two), or also one who declares that the deploy was not theirs (declare)."
  type        = string
  default     = "two"

  validation {
    condition     = contains(["two", "declare"], var.unknown_deployer)
    error_message = "unknown_deployer: expected two or declare."
  }
}

# Alerts and notices

variable "alert_emails" {
  description = "Addresses that get alerts by e-mail."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", each))])
    error_message = "alert_emails: expected e-mail addresses."
  }
}

variable "notification_channels" {
  description = "Your Cloud Monitoring channels that get alerts too (projects/P/notificationChannels/N)."
  type        = list(string)
  default     = []
}

variable "slack_webhook_secret" {
  description = "The id of a secret in this project that holds a Slack webhook's address; null: no Slack."
  type        = string
  default     = null

  validation {
    condition     = var.slack_webhook_secret == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.slack_webhook_secret))
    error_message = "slack_webhook_secret: expected the id of a secret, such as slack-webhook, not the address itself."
  }
}

variable "chat_webhook_secret" {
  description = "The id of a secret in this project that holds a Google Chat webhook's address; null: no Chat."
  type        = string
  default     = null

  validation {
    condition     = var.chat_webhook_secret == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.chat_webhook_secret))
    error_message = "chat_webhook_secret: expected the id of a secret, such as chat-webhook, not the address itself."
  }
}

variable "documentation" {
  description = "The address of docs/operations.md for your people; alerts link to its sections."
  type        = string
  default     = "docs/operations.md"
}

# What the service keeps

variable "trail_days" {
  description = "Days that the trail's log bucket keeps every transition, every switch and every policy write of the service."
  type        = number
  default     = 400

  validation {
    condition     = var.trail_days >= 1 && var.trail_days <= 3650 && floor(var.trail_days) == var.trail_days
    error_message = "trail_days: expected a whole number from 1 to 3650."
  }
}

variable "trail_locked" {
  description = "Lock the trail's bucket: no one, you included, can shorten its retention or delete it before its days are over. Cannot be undone."
  type        = bool
  default     = false
}

variable "denials_bucket" {
  description = "For an organization or folders: keep the failed deploys' whole log entries for seven days in a log bucket that the service alone may read, and read entries back from there; false: from the projects' own logs."
  type        = bool
  default     = true
}

variable "ledger_location" {
  description = "The location of the Firestore database, such as eur3 or nam5; null: the region. Cannot be changed later."
  type        = string
  default     = null

  validation {
    condition     = var.ledger_location == null || can(regex("^[a-z]+[0-9]$|^[a-z]+-[a-z]+[0-9]+$", var.ledger_location))
    error_message = "ledger_location: expected a location of Firestore, such as eur3 or europe-west1."
  }
}

variable "kms_key" {
  description = "Your Cloud KMS key for all data that the service keeps (projects/P/locations/L/keyRings/R/cryptoKeys/K), in the region; null: Google's keys. Set it with the first apply."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[a-z][a-z0-9.:-]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}$", var.kms_key))
    error_message = "kms_key: expected the name of a key, without a version: projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }

  validation {
    condition     = var.kms_key == null || try(split("/", var.kms_key)[3], var.region) == var.region
    error_message = "kms_key: expected a key whose location is the region: what is encrypted with it is kept there."
  }

  validation {
    condition     = var.kms_key == null || coalesce(var.ledger_location, var.region) == var.region
    error_message = "kms_key: expected ledger_location to be null or the region: one key serves one location."
  }
}

# How the service runs. Measurements: docs/operations.md, "Sizes"

variable "name" {
  description = "The prefix of every resource's name."
  type        = string
  default     = "remediate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,18}[a-z0-9]$", var.name)) && !startswith(var.name, "goog")
    error_message = "name: expected 4 to 20 lower-case letters, digits and hyphens, not beginning with goog."
  }
}

variable "threads" {
  description = "Threads of an instance, and the requests that it gets at once."
  type        = number
  default     = 8

  validation {
    condition     = var.threads >= 1 && var.threads <= 1000 && floor(var.threads) == var.threads
    error_message = "threads: expected a whole number from 1 to 1000."
  }
}

variable "min_instances" {
  description = "The fewest receivers. With 0, the first denial in a while waits for a cold start of less than a second."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= 1000 && floor(var.min_instances) == var.min_instances && var.min_instances <= var.max_instances
    error_message = "min_instances: expected a whole number from 0 to max_instances."
  }
}

variable "max_instances" {
  description = "The most receivers. All instances share 60 log look-ups a minute (each makes 50 / `max_instances` at most), so more of them are not faster."
  type        = number
  default     = 4

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances: expected a whole number from 1 to 1000."
  }
}

variable "memory" {
  description = "Memory of an instance."
  type        = string
  default     = "512Mi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.memory))
    error_message = "memory: expected an amount such as 512Mi or 1Gi."
  }
}

variable "cpu_always" {
  description = "Instances of the services keep their CPU between requests (instance-based billing), so that waiting notices are sent at once. An instance is then billed until it ends."
  type        = bool
  default     = false
}

variable "timeout_seconds" {
  description = "The time limit of one event or one page, in seconds, for Cloud Run and for the subscription."
  type        = number
  default     = 120

  validation {
    condition     = var.timeout_seconds >= 10 && var.timeout_seconds <= 600 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds: expected a whole number from 10 to 600, the longest that Pub/Sub waits for an answer."
  }
}

variable "delivery_attempts" {
  description = "Attempts before an event becomes a dead letter (5 to 100). 20 attempts take about two and a half hours."
  type        = number
  default     = 20

  validation {
    condition     = var.delivery_attempts >= 5 && var.delivery_attempts <= 100 && floor(var.delivery_attempts) == var.delivery_attempts
    error_message = "delivery_attempts: expected a whole number from 5 to 100."
  }
}

variable "sweep_schedule" {
  description = "When the sweep runs (unix-cron, UTC)."
  type        = string
  default     = "7 * * * *"

  validation {
    condition     = can(regex("^(\\S+ ){4}\\S+$", var.sweep_schedule))
    error_message = "sweep_schedule: expected five fields of unix-cron, such as 7 * * * *."
  }
}

variable "due_schedule" {
  description = "When the sweep of what is due runs: ends of grants, approvals, waiting notices (unix-cron, UTC)."
  type        = string
  default     = "*/5 * * * *"

  validation {
    condition     = can(regex("^(\\S+ ){4}\\S+$", var.due_schedule))
    error_message = "due_schedule: expected five fields of unix-cron, such as */5 * * * *."
  }
}

variable "sweep_since" {
  description = "How far back the sweep looks for denials that never arrived."
  type        = string
  default     = "1d"

  validation {
    condition     = can(regex("^[1-9][0-9]*[hdw]$", var.sweep_since))
    error_message = "sweep_since: expected hours, days or weeks, such as 12h, 1d or 2w."
  }
}

variable "labels" {
  description = "Labels for all resources that support them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "labels: expected keys and values of lower-case letters, digits, underscores and hyphens, a key beginning with a letter."
  }
}
