# Five variables are yours to set. Everything below them has a default that was measured or reasoned about.

variable "project" {
  description = "The project that the service runs in. Its own project is best: whoever administers it administers the service."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: expected a project's id, such as remediate-ops."
  }
}

variable "region" {
  description = "Where everything runs and is kept, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: expected a region, such as europe-west1."
  }
}

variable "scope" {
  description = "What is watched: [\"organizations/N\"], [\"folders/N\", ...], or [\"projects/ID\"], which has to be this project."
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
    error_message = "scope: a single project is watched from within, so it has to be the project that the service runs in."
  }
}

variable "reviewers" {
  description = "Who decides: addresses, domains, or group:ADDRESS. Identity-Aware Proxy lets them in, and nobody else."
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
  description = "dry-run proposes everything, and the receiver may write nothing anywhere; enforce lets it write what the rules grant."
  type        = string
  default     = "dry-run"

  validation {
    condition     = contains(["dry-run", "enforce"], var.mode)
    error_message = "mode: expected dry-run or enforce."
  }
}

# What may be written, and by which rules

variable "registry_opt_in" {
  description = "none: the writer may change any repository in scope. tag: only those in projects that have the tag, with the value yes or deployers; IAM itself checks that."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "tag"], var.registry_opt_in)
    error_message = "registry_opt_in: expected none or tag."
  }

  validation {
    condition     = var.registry_opt_in == "none" || !startswith(try(var.scope[0], ""), "projects/")
    error_message = "registry_opt_in: tags belong to an organization; in a single project there is nothing to opt in."
  }
}

variable "policy_file" {
  description = "A policy file of yours (docs/policy.md), uploaded as it is; null: the built-in rules decide."
  type        = string
  default     = null
}

variable "operators" {
  description = "Who may loosen the mode, or confirm a policy text, without a second person: addresses."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.operators : can(regex("^[^@:/\\s,]+@([a-z0-9-]+\\.)+[a-z]{2,63}$", each))])
    error_message = "operators: expected addresses, such as ana@example.com."
  }
}

variable "domains" {
  description = "Your organization's own domains. People of other domains are outside, and rules ask; empty: rules ask about all people."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.domains : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,63}$", each))])
    error_message = "domains: expected domains in lower case, such as example.com."
  }
}

variable "workforce_pools" {
  description = "The ids of your organization's own workforce pools. Identities of other pools are outside, and rules ask; empty: rules ask about all."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.workforce_pools : can(regex("^[a-z][a-z0-9-]{2,62}$", each))])
    error_message = "workforce_pools: expected ids of workforce pools, such as my-company."
  }
}

variable "grant_days" {
  description = "How many days a grant by the built-in rule lasts; the sweep renews it where the member deployed again."
  type        = number
  default     = 90

  validation {
    condition     = var.grant_days >= 1 && var.grant_days <= 3650
    error_message = "grant_days: expected 1 to 3650."
  }
}

variable "grants_an_hour" {
  description = "How many grants rules may make in an hour; what comes beyond is asked."
  type        = number
  default     = 60

  validation {
    condition     = var.grants_an_hour >= 1 && var.grants_an_hour <= 10000 && floor(var.grants_an_hour) == var.grants_an_hour
    error_message = "grants_an_hour: expected a whole number from 1 to 10000."
  }
}

variable "grants_to_a_member" {
  description = "How many of them to one member."
  type        = number
  default     = 10

  validation {
    condition     = var.grants_to_a_member >= 1 && var.grants_to_a_member <= 10000 && floor(var.grants_to_a_member) == var.grants_to_a_member
    error_message = "grants_to_a_member: expected a whole number from 1 to 10000."
  }
}

variable "proposals_an_hour" {
  description = "How many proposals one project's denials may open in an hour with a notice and an inbox row each; what comes beyond is gathered."
  type        = number
  default     = 30

  validation {
    condition     = var.proposals_an_hour >= 1 && var.proposals_an_hour <= 10000 && floor(var.proposals_an_hour) == var.proposals_an_hour
    error_message = "proposals_an_hour: expected a whole number from 1 to 10000."
  }
}

variable "troubleshooter" {
  description = "Ask Policy Troubleshooter about deny policies. It needs iam.securityReviewer and iam.denyReviewer, which read much, so it is off."
  type        = bool
  default     = false

  validation {
    condition     = !var.troubleshooter || !startswith(try(var.scope[0], ""), "projects/")
    error_message = "troubleshooter: expected false for a single project: what it asks about is granted on what lies above."
  }
}

variable "unknown_deployer" {
  description = "What an approval takes where the log does not say who deployed: two different reviewers (two), or also one who declares that the deploy was not theirs (declare)."
  type        = string
  default     = "two"

  validation {
    condition     = contains(["two", "declare"], var.unknown_deployer)
    error_message = "unknown_deployer: expected two or declare."
  }
}

# Who is told

variable "alert_emails" {
  description = "Who hears of alerts, by e-mail."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", each))])
    error_message = "alert_emails: expected e-mail addresses."
  }
}

variable "notification_channels" {
  description = "Cloud Monitoring channels of yours that hear of alerts too (projects/P/notificationChannels/N)."
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
    error_message = "chat_webhook_secret: expected the id of a secret, such as slack-webhook, not the address itself."
  }
}

variable "documentation" {
  description = "Where your people find docs/operations.md; alerts point at its sections."
  type        = string
  default     = "docs/operations.md"
}

# What is kept

variable "trail_days" {
  description = "Days that the trail's log bucket keeps every transition, and every policy write of ours."
  type        = number
  default     = 400

  validation {
    condition     = var.trail_days >= 1 && var.trail_days <= 3650 && floor(var.trail_days) == var.trail_days
    error_message = "trail_days: expected a whole number from 1 to 3650."
  }
}

variable "trail_locked" {
  description = "Lock the trail's bucket: nobody, you included, shortens it or deletes it before its days are over. Cannot be undone."
  type        = bool
  default     = false
}

variable "ledger_location" {
  description = "Where the Firestore database lives, such as eur3 or nam5; null: the region. Cannot be changed later."
  type        = string
  default     = null

  validation {
    condition     = var.ledger_location == null || can(regex("^[a-z]+[0-9]$|^[a-z]+-[a-z]+[0-9]+$", var.ledger_location))
    error_message = "ledger_location: expected a location of Firestore, such as eur3 or europe-west1."
  }
}

# How it runs: see docs/operations.md, "Sizes", for what was measured

variable "name" {
  description = "What every resource's name begins with."
  type        = string
  default     = "remediate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,18}[a-z0-9]$", var.name)) && !startswith(var.name, "goog")
    error_message = "name: expected 4 to 20 lower-case letters, digits and hyphens, not beginning with goog."
  }
}

variable "threads" {
  description = "Threads an instance, and requests that it is given at once: the two have to be the same."
  type        = number
  default     = 8

  validation {
    condition     = var.threads >= 1 && var.threads <= 1000 && floor(var.threads) == var.threads
    error_message = "threads: expected a whole number from 1 to 1000."
  }
}

variable "min_instances" {
  description = "Receivers that are always there. With none, the first denial in a while waits for a cold start, which nobody notices."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= 1000 && floor(var.min_instances) == var.min_instances && var.min_instances <= var.max_instances
    error_message = "min_instances: expected a whole number from 0 to max_instances."
  }
}

variable "max_instances" {
  description = "Receivers at most. All instances share 60 log look-ups a minute, so more than a few do not go faster."
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

variable "timeout_seconds" {
  description = "Seconds that one event, or one page, may take: of Cloud Run, and of the subscription, which is told so too."
  type        = number
  default     = 120

  validation {
    condition     = var.timeout_seconds >= 10 && var.timeout_seconds <= 600 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds: expected a whole number from 10 to 600, the longest that Pub/Sub waits for an answer."
  }
}

variable "delivery_attempts" {
  description = "How often an event is tried before it becomes a dead letter (5 to 100). 20 attempts take about two hours and a half."
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
  description = "Labels for everything that takes them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "labels: expected keys and values of lower-case letters, digits, underscores and hyphens, a key beginning with a letter."
  }
}
