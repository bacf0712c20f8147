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
  description = "none: the writer may change any repository in scope. tag: only those in projects that bear the tag; IAM itself checks that."
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

variable "grants_an_hour" {
  description = "How many grants rules may make in an hour; what comes beyond is asked."
  type        = number
  default     = 60
}

variable "grants_to_a_member" {
  description = "How many of them to one member."
  type        = number
  default     = 10
}

variable "troubleshooter" {
  description = "Ask Policy Troubleshooter about deny policies. It needs iam.securityReviewer and iam.denyReviewer, which read much, so it is off."
  type        = bool
  default     = false
}

# Who is told

variable "alert_emails" {
  description = "Who hears of alerts, by e-mail."
  type        = list(string)
  default     = []
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
}

variable "chat_webhook_secret" {
  description = "The id of a secret in this project that holds a Google Chat webhook's address; null: no Chat."
  type        = string
  default     = null
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
    condition     = var.trail_days >= 1 && var.trail_days <= 3650
    error_message = "trail_days: expected 1 to 3650."
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
}

# How it runs: see docs/operations.md, "Sizes", for what was measured

variable "name" {
  description = "What every resource's name begins with."
  type        = string
  default     = "remediate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,18}[a-z0-9]$", var.name))
    error_message = "name: expected 4 to 20 lower-case letters, digits and hyphens."
  }
}

variable "threads" {
  description = "Threads an instance, and requests that it is given at once: the two have to be the same."
  type        = number
  default     = 8
}

variable "min_instances" {
  description = "Receivers that are always there. With none, the first denial in a while waits for a cold start, which nobody notices."
  type        = number
  default     = 0
}

variable "max_instances" {
  description = "Receivers at most. All instances share 60 log look-ups a minute, so more than a few do not go faster."
  type        = number
  default     = 4
}

variable "memory" {
  description = "Memory of an instance."
  type        = string
  default     = "512Mi"
}

variable "timeout_seconds" {
  description = "Seconds that one event, or one page, may take."
  type        = number
  default     = 120
}

variable "delivery_attempts" {
  description = "How often an event is tried before it becomes a dead letter (5 to 100). 20 attempts take about two hours and a half."
  type        = number
  default     = 20

  validation {
    condition     = var.delivery_attempts >= 5 && var.delivery_attempts <= 100
    error_message = "delivery_attempts: expected 5 to 100."
  }
}

variable "sweep_schedule" {
  description = "When the sweep runs (unix-cron, UTC)."
  type        = string
  default     = "7 * * * *"
}

variable "sweep_since" {
  description = "How far back the sweep looks for denials that never arrived."
  type        = string
  default     = "1d"
}

variable "labels" {
  description = "Labels for everything that takes them."
  type        = map(string)
  default     = {}
}
