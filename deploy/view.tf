# Where entries are read back from: the denials of everything watched, in a bucket of this project, by a sink of the topic's
# own filter. Those who decide then need one look-up for them all, and none of the projects' logs. The bucket holds whole
# entries, which may hold environment variables: for seven days, and readable by those who decide alone.

locals {
  has_view = var.denials_bucket && local.kind != "projects"

  log_view = one([
    for each in google_logging_log_view.denials : "${each.parent}/locations/${each.location}/buckets/${each.bucket}/views/${each.name}"
  ])
}

resource "google_logging_project_bucket_config" "denials" {
  count = local.has_view ? 1 : 0

  project        = var.project
  location       = var.region
  bucket_id      = local.names.log_buckets.denials
  description    = "The failed deploys that ${var.name} reads back, whole"
  retention_days = 7 # the code counts on it: LOG_VIEW_LASTS

  dynamic "cmek_settings" {
    for_each = var.kms_key[*]

    content {
      kms_key_name = cmek_settings.value
    }
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

resource "google_logging_log_view" "denials" {
  count = local.has_view ? 1 : 0

  parent      = "projects/${var.project}"
  location    = var.region
  bucket      = google_logging_project_bucket_config.denials[0].bucket_id
  name        = local.names.log_views.denials
  description = "All of the bucket, for those who decide"
}

# Authoritative: whoever else was let in to read is taken out again.
resource "google_logging_log_view_iam_binding" "denials" {
  count = local.has_view ? 1 : 0

  parent   = google_logging_log_view.denials[0].parent
  location = google_logging_log_view.denials[0].location
  bucket   = google_logging_log_view.denials[0].bucket
  name     = google_logging_log_view.denials[0].name
  role     = "roles/logging.viewAccessor"
  members  = [for who in local.readers : google_service_account.of[who].member]
}

resource "google_logging_organization_sink" "view" {
  count = local.has_view && local.kind == "organizations" ? 1 : 0

  name               = local.names.sinks.view
  org_id             = local.organization
  description        = "Failed Cloud Run deploys that may be image-read denials, to the bucket of ${var.name}"
  destination        = "logging.googleapis.com/${google_logging_project_bucket_config.denials[0].id}"
  filter             = local.denials
  include_children   = true
  intercept_children = false
}

resource "google_logging_folder_sink" "view" {
  for_each = local.has_view && local.kind == "folders" ? local.scopes : toset([])

  name               = local.names.sinks.view
  folder             = each.value
  description        = "Failed Cloud Run deploys that may be image-read denials, to the bucket of ${var.name}"
  destination        = "logging.googleapis.com/${google_logging_project_bucket_config.denials[0].id}"
  filter             = local.denials
  include_children   = true
  intercept_children = false
}

# The sinks' identities, on this bucket alone.
resource "google_project_iam_member" "view" {
  # The keys come from the variables alone: `terraform import` knows no other resource.
  for_each = merge(
    { for each in local.has_view && local.kind == "organizations" ? ["organization"] : [] : each => google_logging_organization_sink.view[0].writer_identity },
    { for each in local.has_view && local.kind == "folders" ? local.scopes : [] : each => google_logging_folder_sink.view[each].writer_identity },
  )

  project = var.project
  role    = "roles/logging.bucketWriter"
  member  = each.value

  condition {
    title       = "the denials alone"
    description = "Only the bucket of denials"
    expression  = "resource.name.endsWith(\"locations/${var.region}/buckets/${local.names.log_buckets.denials}\")"
  }
}
