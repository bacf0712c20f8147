# The image: what is built of this repository, out of which files, and where it is kept.

locals {
  root = "${path.module}/.."

  # What the service needs and nothing else, as in gcloudignore: no tests, no sandbox, no configuration of this checkout.
  sources = setunion(
    ["main.py", "requirements.txt"],
    [for each in fileset(local.root, "remediate/**") : each if !strcontains(each, "__pycache__")],
  )

  # A changed source is a new image, under a tag of its own, so that everything that runs it is updated too. A new
  # build_revision is one too: built from the same source, with the fixes that its base has by then.
  image = join("/", [
    "${var.region}-docker.pkg.dev",
    var.project,
    google_artifact_registry_repository.images.repository_id,
    "${var.name}:${join("-", compact([substr(local.source_digest, 0, 12), var.build_revision]))}",
  ])
  source_digest = sha256(join("\n", [for each in sort(local.sources) : "${each} ${filesha256("${local.root}/${each}")}"]))
}

resource "google_storage_bucket" "source" {
  project                     = var.project
  name                        = local.names.buckets.source
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels

  dynamic "encryption" {
    for_each = var.kms_key[*]

    content {
      default_kms_key_name = encryption.value
    }
  }

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

  depends_on = [google_project_service.used, terraform_data.key]
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
  repository_id = local.names.repositories.images
  format        = "DOCKER"
  description   = "The image of ${var.name}"
  labels        = local.labels
  kms_key_name  = var.kms_key

  # clean-up.json says which images are deleted after a while; install.sh sets the same.
  dynamic "cleanup_policies" {
    for_each = { for each in jsondecode(file("${path.module}/clean-up.json")) : each.name => each }

    content {
      id     = cleanup_policies.key
      action = upper(cleanup_policies.value.action.type)

      dynamic "most_recent_versions" {
        for_each = try(cleanup_policies.value.mostRecentVersions, null)[*]

        content {
          keep_count = most_recent_versions.value.keepCount
        }
      }

      dynamic "condition" {
        for_each = try(cleanup_policies.value.condition, null)[*]

        content {
          tag_state  = upper(condition.value.tagState)
          older_than = condition.value.olderThan
        }
      }
    }
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

# Cloud Run's own build settings describe a build and start none, so this starts it, as install.sh does; what runs the
# image waits for it. Source: "build_config" (google_cloud_run_v2_service), and the provider's issue 22263.
# The builder's rights are seconds old in a first apply, so a build that fails is tried again.
resource "terraform_data" "image" {
  triggers_replace = [local.image]

  provisioner "local-exec" {
    working_dir = local.root

    command = join(" ", [
      "deploy/patiently.sh gcloud builds submit . --quiet --project=${var.project}",
      "${var.build_region == "global" ? "" : "--region=${var.build_region} "}--config=deploy/build.yaml --ignore-file=deploy/gcloudignore --substitutions=_IMAGE=${local.image}",
      "--service-account=${google_service_account.of["builder"].id}",
      "--gcs-source-staging-dir=gs://${google_storage_bucket.source.name}/source",
    ])
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.builder,
    google_project_iam_member.builder,
    google_storage_bucket_iam_member.builder,
  ]
}

# What runs names the image by its digest. An image that is built anew under the same tag so becomes a new revision, and write
# access to the repository alone changes nothing that runs. A build that is planned comes first, and the digest is known after it.
data "google_artifact_registry_docker_image" "built" {
  project       = var.project
  location      = var.region
  repository_id = google_artifact_registry_repository.images.repository_id
  image_name    = basename(local.image)

  depends_on = [terraform_data.image]
}
