# Who acts: six service accounts, and nobody's key. Each right stands beside the call that needs it.

locals {
  # Who reads evidence and the ledger; and of these, who may change a repository's policy.
  readers = toset(["receiver", "review", "sweep", "writer"])
  writers = toset(var.mode == "enforce" ? ["receiver", "sweep", "writer"] : ["sweep", "writer"])
}

resource "google_service_account" "of" {
  for_each = local.names.accounts

  project      = var.project
  account_id   = each.value
  display_name = "${var.name}: ${each.key}"
  description  = local.installation.resources.accounts[each.key].why

  depends_on = [google_project_service.used]
}

# What is read and written beside policies

resource "google_project_iam_custom_role" "ledger" {
  project     = var.project
  role_id     = local.names.roles.ledger
  title       = "${var.name}: ${local.installation.resources.roles.ledger.title}"
  description = local.installation.resources.roles.ledger.why
  permissions = [for each in local.installation.ledger : each.permission]

  depends_on = [google_project_service.used]
}

resource "google_project_iam_member" "ledger" {
  for_each = local.readers

  project = var.project
  role    = google_project_iam_custom_role.ledger.id
  member  = google_service_account.of[each.key].member

  condition {
    title       = "the ledger alone"
    description = "Only the database of this service"
    expression  = "resource.type == \"firestore.googleapis.com/Database\" && resource.name == \"projects/${var.project}/databases/${local.names.databases.ledger}\""
  }
}

# Notices are published by whoever makes a transition.
resource "google_pubsub_topic_iam_member" "notices" {
  for_each = local.readers

  project = var.project
  topic   = google_pubsub_topic.notices.name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.of[each.key].member
}

# A policy file is read by whoever decides, and the source beside it is not.
resource "google_storage_bucket_iam_member" "policy" {
  for_each = var.policy_file == null ? toset([]) : local.readers

  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.of[each.key].member

  condition {
    title       = "policy files alone"
    description = "Only what lies under policy/"
    expression  = "resource.type == \"storage.googleapis.com/Object\" && resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.source.name}/objects/policy/\")"
  }
}

# Policy Troubleshooter asks with the caller's own eyes, so it needs roles that see everything; off by default.
resource "google_organization_iam_member" "troubleshooter" {
  for_each = {
    for pair in setproduct(local.readers, local.installation.troubleshooter) : join(" ", pair) => pair
    if var.troubleshooter && local.organization != null
  }

  org_id = local.organization
  role   = each.value[1]
  member = google_service_account.of[each.value[0]].member
}

# The builder reads the source, writes the image, and says in the log how it went.
resource "google_storage_bucket_iam_member" "builder" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.of["builder"].member
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.of["builder"].member
}

resource "google_project_iam_member" "builder" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.of["builder"].member
}
