# The writer: the one service that changes policies for people. It can be reached from within alone, and a message wakes it. The
# record in the ledger is the queue: what no message woke it for, the sweep carries out. See docs/decisions/0012-writer.md.

resource "google_pubsub_topic" "approvals" {
  project = var.project
  name    = local.names.topics.approvals
  labels  = local.labels

  kms_key_name = var.kms_key

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

resource "google_pubsub_topic_iam_member" "approvals" {
  project = var.project
  topic   = google_pubsub_topic.approvals.name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.of["review"].member
}

resource "google_pubsub_subscription" "approvals" {
  project = var.project
  name    = local.names.subscriptions.approvals
  topic   = google_pubsub_topic.approvals.id
  labels  = local.labels

  ack_deadline_seconds       = var.timeout_seconds
  message_retention_duration = "600s" # the least; the sweep makes good what is lost

  push_config {
    push_endpoint = google_cloud_run_v2_service.writer.uri

    oidc_token {
      service_account_email = google_service_account.of["trigger"].email
      audience              = google_cloud_run_v2_service.writer.uri
    }
  }

  retry_policy {
    minimum_backoff = "5s"
    maximum_backoff = "60s"
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_v2_service_iam_binding.writer, terraform_data.agents]
}

resource "google_cloud_run_v2_service" "writer" {
  project             = var.project
  location            = var.region
  name                = local.names.services.writer
  description         = "Carries out what people approved or revoked, if it still holds"
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = false
  labels              = local.labels

  template {
    service_account                  = google_service_account.of["writer"].email
    timeout                          = "${var.timeout_seconds}s"
    max_instance_request_concurrency = var.threads
    encryption_key                   = var.kms_key

    scaling {
      min_instance_count = 0
      max_instance_count = 2
    }

    containers {
      image   = data.google_artifact_registry_docker_image.built.self_link
      command = [local.launcher]
      args    = ["--", "functions-framework", "--target", "carry_out"]

      resources {
        limits            = { cpu = "1", memory = var.memory }
        cpu_idle          = !var.cpu_always
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.environment, { THREADS = tostring(var.threads) })

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.webhooks

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }
    }
  }

  depends_on = [
    google_project_iam_member.ledger,
    google_secret_manager_secret_iam_member.webhooks,
    google_storage_bucket_iam_member.policy,
    terraform_data.key,
  ]
}

# Authoritative: the subscription's identity wakes the writer, and nobody else.
resource "google_cloud_run_v2_service_iam_binding" "writer" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.writer.name
  role     = "roles/run.invoker"
  members  = [google_service_account.of["trigger"].member]
}
