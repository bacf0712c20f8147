# How a failed deploy's log entry reaches the receiver, and what becomes of one that cannot be delivered.
#
# An organization, or folders: sink -> topic -> Eventarc, or a push subscription -> receiver. A single project: Eventarc's audit
# log triggers, which need no right above the project, one a method; they bring no system events, so the service agent's own
# denial is found by its deployer's. With delivery = "push", a single project has a sink and a topic too. Sources: "Aggregated
# sinks overview" (Cloud Logging), "Route events to Cloud Run" (Eventarc), "Push subscriptions" (Pub/Sub).

locals {
  # The recogniser's own filter, printed by `make filter`; tests compare the two.
  denials = file("${path.module}/denials.filter")

  pushes    = var.delivery == "push"
  has_topic = local.pushes || local.kind != "projects"

  # The Cloud Run methods that Eventarc knows.
  methods = toset(local.has_topic ? [] : local.installation.methods)

  # The sinks' own identities, made by Cloud Logging.
  publishers = distinct(concat(
    [for each in google_logging_organization_sink.denials : each.writer_identity],
    [for each in google_logging_folder_sink.denials : each.writer_identity],
    [for each in google_logging_project_sink.denials : each.writer_identity],
  ))

  subscriptions = merge(
    { for key, each in google_pubsub_subscription.denials : "denials" => each.id },
    { for key, each in google_eventarc_trigger.denials : "denials" => each.transport[0].pubsub[0].subscription },
    { for key, each in google_eventarc_trigger.calls : key => each.transport[0].pubsub[0].subscription },
  )
  triggers = local.has_topic ? toset(["denials"]) : local.methods
}

resource "google_logging_organization_sink" "denials" {
  count = local.kind == "organizations" ? 1 : 0

  name               = local.names.sinks.denials
  org_id             = local.organization
  description        = "Failed Cloud Run deploys that may be image-read denials, to ${var.name}"
  destination        = "pubsub.googleapis.com/${google_pubsub_topic.denials[0].id}"
  filter             = local.denials
  include_children   = true
  intercept_children = false
}

resource "google_logging_folder_sink" "denials" {
  for_each = local.kind == "folders" ? local.scopes : toset([])

  name               = local.names.sinks.denials
  folder             = each.value
  description        = "Failed Cloud Run deploys that may be image-read denials, to ${var.name}"
  destination        = "pubsub.googleapis.com/${google_pubsub_topic.denials[0].id}"
  filter             = local.denials
  include_children   = true
  intercept_children = false
}

resource "google_logging_project_sink" "denials" {
  count = local.kind == "projects" && local.pushes ? 1 : 0

  project                = var.project
  name                   = local.names.sinks.denials
  description            = "Failed Cloud Run deploys that may be image-read denials, to ${var.name}"
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.denials[0].id}"
  filter                 = local.denials
  unique_writer_identity = true
}

resource "google_pubsub_topic" "denials" {
  count = local.has_topic ? 1 : 0

  project      = var.project
  name         = local.names.topics.denials
  labels       = local.labels
  kms_key_name = var.kms_key

  # What was delivered can be delivered once more, by a seek: docs/operations.md, "Replay".
  message_retention_duration = "604800s"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

# Authoritative: whoever else was let in to publish is taken out again.
resource "google_pubsub_topic_iam_binding" "publisher" {
  count = local.has_topic ? 1 : 0

  project = var.project
  topic   = google_pubsub_topic.denials[0].name
  role    = "roles/pubsub.publisher"
  members = local.publishers
}

# Without Eventarc, all of the way is Terraform's own.
resource "google_pubsub_subscription" "denials" {
  count = local.pushes ? 1 : 0

  project = var.project
  name    = local.names.subscriptions.denials
  topic   = google_pubsub_topic.denials[0].id
  labels  = local.labels

  ack_deadline_seconds       = var.timeout_seconds # a push is over with it, whatever the service may take
  message_retention_duration = "86400s"

  push_config {
    push_endpoint = google_cloud_run_v2_service.receiver.uri

    oidc_token {
      service_account_email = google_service_account.of["trigger"].email
      audience              = google_cloud_run_v2_service.receiver.uri
    }
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = var.delivery_attempts
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [
    google_cloud_run_v2_service_iam_binding.receiver,
    google_pubsub_topic_iam_binding.dead_letters,
    terraform_data.agents,
  ]
}

resource "google_eventarc_trigger" "denials" {
  count = local.kind == "projects" || local.pushes ? 0 : 1

  project         = var.project
  location        = var.region
  name            = local.names.triggers.denials
  service_account = google_service_account.of["trigger"].email
  labels          = local.labels

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.pubsub.topic.v1.messagePublished"
  }

  transport {
    pubsub {
      topic = google_pubsub_topic.denials[0].id
    }
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.receiver.name
      region  = var.region
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_binding.receiver, terraform_data.agents]
}

resource "google_eventarc_trigger" "calls" {
  for_each = local.methods

  project         = var.project
  location        = var.region
  name            = "${var.name}-${lower(replace(trimprefix(each.value, "google.cloud.run."), ".", "-"))}"
  service_account = google_service_account.of["trigger"].email
  labels          = local.labels

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.audit.log.v1.written"
  }

  matching_criteria {
    attribute = "serviceName"
    value     = "run.googleapis.com"
  }

  matching_criteria {
    attribute = "methodName"
    value     = each.value
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.receiver.name
      region  = var.region
    }
  }

  depends_on = [
    google_cloud_run_v2_service_iam_binding.receiver,
    google_project_iam_member.events,
    terraform_data.agents,
  ]
}

# Audit log events are handed out by Eventarc itself, to whoever may receive events.
resource "google_project_iam_member" "events" {
  count = local.has_topic ? 0 : 1

  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.of["trigger"].member
}

# What could not be delivered. Eventarc makes its subscription itself and no resource of the provider owns it, so its
# dead-letter policy is set by a command; `remediate doctor` looks whether it is still there.
resource "google_pubsub_topic" "dead_letters" {
  project      = var.project
  name         = local.names.topics.dead_letters
  labels       = local.labels
  kms_key_name = var.kms_key

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

resource "google_pubsub_subscription" "dead_letters" {
  project = var.project
  name    = local.names.subscriptions.dead_letters
  topic   = google_pubsub_topic.dead_letters.id
  labels  = local.labels

  message_retention_duration = "604800s"
  ack_deadline_seconds       = 60

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub moves dead letters with its own identity: it publishes there, and acknowledges here.
resource "google_pubsub_topic_iam_binding" "dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  members = [local.agents.pubsub]

  depends_on = [terraform_data.agents]
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = local.triggers

  project      = var.project
  subscription = local.subscriptions[each.key]
  role         = "roles/pubsub.subscriber"
  member       = local.agents.pubsub

  depends_on = [terraform_data.agents]
}

resource "terraform_data" "dead_letters" {
  for_each = local.pushes ? toset([]) : local.triggers

  triggers_replace = [local.subscriptions[each.key], google_pubsub_topic.dead_letters.id, var.delivery_attempts, var.timeout_seconds]

  provisioner "local-exec" {
    command = join(" ", [
      "gcloud pubsub subscriptions update ${local.subscriptions[each.key]} --quiet --project=${var.project}",
      "--dead-letter-topic=${google_pubsub_topic.dead_letters.id} --max-delivery-attempts=${var.delivery_attempts}",
      "--ack-deadline=${var.timeout_seconds}", # a push is over with it, whatever the service may take; ten seconds, if unsaid
    ])
  }

  depends_on = [
    google_pubsub_topic_iam_binding.dead_letters,
    google_pubsub_subscription_iam_member.dead_letters,
  ]
}

# What people and tools are told: each transition, for whoever subscribes.
resource "google_pubsub_topic" "notices" {
  project      = var.project
  name         = local.names.topics.notices
  labels       = local.labels
  kms_key_name = var.kms_key

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.used, terraform_data.key]
}
