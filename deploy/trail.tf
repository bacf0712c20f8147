# The second witness of what was done: each transition and each switch that the service or a command logs, and each policy
# write that Google Cloud logged under our identities, in one bucket that can be locked. No entry of a deploy is kept there:
# those may hold environment variables, and these kinds hold none.

locals {
  writing = sort([for who in ["receiver", "sweep", "writer"] : google_service_account.of[who].email])

  writes = join("\n", [
    "protoPayload.methodName=\"google.devtools.artifactregistry.v1.ArtifactRegistry.SetIamPolicy\"",
    "log_id(\"cloudaudit.googleapis.com/activity\")",
    "protoPayload.authenticationInfo.principalEmail=(${join(" OR ", [for each in local.writing : "\"${each}\""])})",
    "NOT severity>=ERROR",
  ])

  # Where else policy writes are logged than in an organization or a single project as a whole.
  witnessed = {
    folders  = toset([for each in local.places : each if startswith(each, "folders/")])
    projects = toset([for each in var.registries : trimprefix(each, "projects/") if startswith(each, "projects/")])
  }

  # What our own processes say.
  ours = format("(%s)", join(" OR ", [
    "(resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(\"${local.names.services.receiver}\" OR \"${local.names.services.review}\" OR \"${local.names.services.writer}\"))",
    "(resource.type=\"cloud_run_job\" AND resource.labels.job_name=(\"${local.names.jobs.sweep}\" OR \"${local.names.jobs.due}\"))",
  ]))

  # The lines of the trail, as the code writes them: trail.filter is printed by `make filter`.
  trail = trimspace(templatefile("${path.module}/trail.filter", merge(local.names.services, local.names.jobs)))
}

resource "google_logging_project_bucket_config" "trail" {
  project        = var.project
  location       = var.region
  bucket_id      = local.names.log_buckets.trail
  description    = "Every transition of ${var.name}, and every policy write of its identities"
  retention_days = var.trail_days
  locked         = var.trail_locked

  dynamic "cmek_settings" {
    for_each = var.kms_key[*]

    content {
      kms_key_name = cmek_settings.value
    }
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

resource "google_logging_project_sink" "trail" {
  project                = var.project
  name                   = local.names.sinks.trail
  description            = "Each transition and each switch, to the trail's bucket"
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.trail.id}"
  filter                 = local.trail
  unique_writer_identity = true
}

# Our policy writes are logged by the project that owns the repository, so they are collected where deploys are.
resource "google_logging_organization_sink" "writes" {
  count = local.kind == "organizations" ? 1 : 0

  name               = local.names.sinks.writes
  org_id             = local.organization
  description        = "Policy writes by the identities of ${var.name}, to its trail"
  destination        = "logging.googleapis.com/${google_logging_project_bucket_config.trail.id}"
  filter             = local.writes
  include_children   = true
  intercept_children = false
}

resource "google_logging_folder_sink" "writes" {
  for_each = local.witnessed.folders

  name               = local.names.sinks.writes
  folder             = each.value
  description        = "Policy writes by the identities of ${var.name}, to its trail"
  destination        = "logging.googleapis.com/${google_logging_project_bucket_config.trail.id}"
  filter             = local.writes
  include_children   = true
  intercept_children = false
}

resource "google_logging_project_sink" "writes" {
  count = local.kind == "projects" ? 1 : 0

  project                = var.project
  name                   = local.names.sinks.writes
  description            = "Policy writes by the identities of ${var.name}, to its trail"
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.trail.id}"
  filter                 = local.writes
  unique_writer_identity = true
}

resource "google_logging_project_sink" "registries" {
  for_each = local.witnessed.projects

  project                = each.value
  name                   = local.names.sinks.writes
  description            = "Policy writes by the identities of ${var.name}, to its trail"
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.trail.id}"
  filter                 = local.writes
  unique_writer_identity = true

  depends_on = [google_project_service.used]
}

# A sink of this same project writes to a bucket of it without an identity; one from above needs the right.
resource "google_project_iam_member" "trail" {
  # The keys come from the variables alone: `terraform import` knows no other resource.
  for_each = merge(
    { for each in local.kind == "organizations" ? ["organization"] : [] : each => google_logging_organization_sink.writes[0].writer_identity },
    { for each in local.witnessed.folders : each => google_logging_folder_sink.writes[each].writer_identity },
    { for each in local.witnessed.projects : each => google_logging_project_sink.registries[each].writer_identity },
  )

  project = var.project
  role    = "roles/logging.bucketWriter"
  member  = each.value

  condition {
    title       = "the trail alone"
    description = "Only the trail's bucket"
    expression  = "resource.name.endsWith(\"locations/${var.region}/buckets/${local.names.log_buckets.trail}\")"
  }
}
