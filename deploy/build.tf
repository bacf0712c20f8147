# The image: what is built of this repository, out of which files, and where it is kept.

locals {
  root = "${path.module}/.."

  # What the service needs and nothing else: no tests, no sandbox, no configuration of this checkout.
  sources = setunion(
    ["main.py", "pyproject.toml", "requirements.txt"],
    [for each in fileset(local.root, "remediate/**") : each if !strcontains(each, "__pycache__")],
  )

  # A changed source is a new image, under a name of its own, so that everything that runs it is updated too.
  image = join("/", [
    "${var.region}-docker.pkg.dev",
    var.project,
    google_artifact_registry_repository.images.repository_id,
    "${var.name}-${substr(local.source_digest, 0, 12)}",
  ])
  source_digest = sha256(join("\n", [for each in sort(local.sources) : "${each} ${filesha256("${local.root}/${each}")}"]))
}

data "archive_file" "source" {
  type        = "zip"
  output_path = "${path.module}/.terraform/${var.name}-source.zip"

  dynamic "source" {
    for_each = local.sources

    content {
      filename = source.value
      content  = file("${local.root}/${source.value}")
    }
  }
}

resource "google_storage_bucket" "source" {
  project                     = var.project
  name                        = "${var.project}-${var.name}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      num_newer_versions         = 10
      days_since_noncurrent_time = 30
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_storage_bucket_object" "source" {
  bucket = google_storage_bucket.source.name
  name   = "source/${local.source_digest}.zip"
  source = data.archive_file.source.output_path
}

resource "google_storage_bucket_object" "policy" {
  count = var.policy_file == null ? 0 : 1

  bucket  = google_storage_bucket.source.name
  name    = "policy/policy.yaml"
  content = file(var.policy_file)
}

resource "google_artifact_registry_repository" "images" {
  project       = var.project
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  description   = "The image of ${var.name}"
  labels        = local.labels

  cleanup_policies {
    id     = "keep"
    action = "KEEP"

    most_recent_versions {
      keep_count = 1
    }
  }

  cleanup_policies {
    id     = "old"
    action = "DELETE"

    condition {
      older_than = "7776000s"
    }
  }

  depends_on = [google_project_service.used]
}
