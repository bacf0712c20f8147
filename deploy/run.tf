# What runs: one image, built of this repository as it is, in four processes.
#
# build.tf has it built (functions-framework buildpack, which compiles every module to bytecode). The receiver runs it as it
# is; the review pages, the writer (writer.tf) and the sweep run it with another command. Source: "Deploy a Cloud Run function" and "Build a Python
# application" (Cloud Run, buildpacks).

locals {
  launcher = "/cnb/lifecycle/launcher"

  environment = {
    for name, value in {
      REMEDIATE_MODE               = var.mode
      REMEDIATE_LEDGER             = "firestore://${var.project}/${google_firestore_database.ledger.name}"
      REMEDIATE_ORGANIZATION       = local.organization
      REMEDIATE_REVIEWERS          = join(",", local.reviewers)
      REMEDIATE_OPERATORS          = length(var.operators) > 0 ? join(",", var.operators) : null
      REMEDIATE_IDENTITIES         = join(",", sort([for each in google_service_account.of : each.email]))
      REMEDIATE_POLICY             = one([for each in google_storage_bucket_object.policy : "gs://${each.bucket}/${each.name}"])
      REMEDIATE_POLICY_CONFIRMED   = var.policy_file == null ? null : filesha256(var.policy_file)
      REMEDIATE_LOG_VIEW           = local.log_view
      REMEDIATE_OPT_IN_TAG         = try(join(",", local.opted_in.values), null)
      REMEDIATE_DOMAINS            = length(var.domains) > 0 ? join(",", var.domains) : null
      REMEDIATE_WORKFORCE_POOLS    = length(var.workforce_pools) > 0 ? join(",", var.workforce_pools) : null
      REMEDIATE_GRANT_DAYS         = tostring(var.grant_days)
      REMEDIATE_TROUBLESHOOTER     = var.troubleshooter ? "on" : "off"
      REMEDIATE_UNKNOWN_DEPLOYER   = var.unknown_deployer == "two" ? null : var.unknown_deployer
      REMEDIATE_GRANTS_AN_HOUR     = tostring(var.grants_an_hour)
      REMEDIATE_GRANTS_TO_A_MEMBER = tostring(var.grants_to_a_member)
      REMEDIATE_PROPOSALS_AN_HOUR  = tostring(var.proposals_an_hour)
      REMEDIATE_NOTIFY_TOPIC       = google_pubsub_topic.notices.id
      REMEDIATE_REVIEW_URL         = local.review_url
      GOOGLE_CLOUD_PROJECT         = var.project
    } : name => value if value != null
  }

  webhooks = {
    for name, secret in {
      REMEDIATE_SLACK_WEBHOOK = var.slack_webhook_secret
      REMEDIATE_CHAT_WEBHOOK  = var.chat_webhook_secret
    } : name => secret if secret != null
  }

  # A group cannot be looked into from here: Identity-Aware Proxy does that, and its domain is what is left to check.
  reviewers = distinct([for each in var.reviewers : startswith(each, "group:") ? split("@", each)[1] : each])

  # The sweep of everything, and the one of what is due: two jobs, as other arguments for one job take another permission.
  sweeps = {
    sweep = {
      description = "Starts the sweep"
      schedule    = var.sweep_schedule
      arguments   = concat(["sweep", "--since", var.sweep_since], [for each in var.scope : "--scope=${each}"])
      timeout     = "1800s"
      max_retries = 3 # fewer end in false alarms: "Known issues in Cloud Run", jobs
    }
    due = {
      description = "Starts the sweep of what is due"
      schedule    = var.due_schedule
      arguments   = ["sweep", "--due"]
      timeout     = "600s"
      max_retries = 0 # the schedule tries again soon, and its alert looks at two hours
    }
  }

  # Each person of such a domain may review every repository.
  whole_domains = [for each in var.reviewers : each if !strcontains(each, "@")]

  review_url = "https://${local.names.services.review}-${local.number}.${var.region}.run.app"
}

check "reviewers" {
  assert {
    condition     = length(local.whole_domains) == 0
    error_message = "reviewers: ${join(", ", local.whole_domains)} lets everybody of that domain decide about every repository. Name a group (group:platform@example.com) or addresses, but for a small installation."
  }
}

resource "google_cloud_run_v2_service" "receiver" {
  project             = var.project
  location            = var.region
  name                = local.names.services.receiver
  description         = "Understands failed deploys, and proposes or grants what they lack"
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = false
  labels              = local.labels

  template {
    service_account                  = google_service_account.of["receiver"].email
    timeout                          = "${var.timeout_seconds}s"
    encryption_key                   = var.kms_key
    max_instance_request_concurrency = var.threads

    scaling {
      min_instance_count = var.min_instances
      max_instance_count = var.max_instances
    }

    containers {
      image = data.google_artifact_registry_docker_image.built.self_link

      resources {
        limits            = { cpu = "1", memory = var.memory }
        cpu_idle          = !var.cpu_always
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.environment, {
          THREADS                    = tostring(var.threads)
          REMEDIATE_LOOKUPS_A_MINUTE = tostring(max(1, floor(50 / var.max_instances))) # all share Cloud Logging's 60
        })

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

# Authoritative: the trigger starts the receiver, and nobody else.
resource "google_cloud_run_v2_service_iam_binding" "receiver" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.receiver.name
  role     = "roles/run.invoker"
  members  = [google_service_account.of["trigger"].member]
}

resource "google_cloud_run_v2_service" "review" {
  project             = var.project
  location            = var.region
  name                = local.names.services.review
  description         = "The pages on which people decide, behind Identity-Aware Proxy"
  ingress             = "INGRESS_TRAFFIC_ALL"
  iap_enabled         = true
  deletion_protection = false
  labels              = local.labels

  template {
    service_account                  = google_service_account.of["review"].email
    timeout                          = "${var.timeout_seconds}s"
    encryption_key                   = var.kms_key
    max_instance_request_concurrency = var.threads

    scaling {
      min_instance_count = 0
      max_instance_count = 2
    }

    containers {
      image   = data.google_artifact_registry_docker_image.built.self_link
      command = [local.launcher]
      args    = ["--", "functions-framework", "--target", "review"]

      resources {
        limits            = { cpu = "1", memory = var.memory }
        cpu_idle          = !var.cpu_always
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.environment, {
          THREADS                = tostring(var.threads)
          REMEDIATE_IAP_AUDIENCE = "/projects/${local.number}/locations/${var.region}/services/${local.names.services.review}"
          REMEDIATE_WRITER_TOPIC = google_pubsub_topic.approvals.id
        })

        content {
          name  = env.key
          value = env.value
        }
      }

      env {
        name = "REMEDIATE_SECRET"

        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret.review.secret_id
            version = "latest"
          }
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
    google_secret_manager_secret_iam_member.review,
    google_secret_manager_secret_iam_member.webhooks,
    google_secret_manager_secret_version.review,
    google_storage_bucket_iam_member.policy,
    terraform_data.key,
  ]
}

# Authoritative: the proxy alone reaches the pages, and lets reviewers and operators through.
resource "google_cloud_run_v2_service_iam_binding" "review" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.review.name
  role     = "roles/run.invoker"
  members  = [local.agents.iap]

  depends_on = [terraform_data.agents]
}

resource "google_iap_web_cloud_run_service_iam_member" "reviewers" {
  for_each = toset(concat(var.reviewers, var.operators))

  project                = var.project
  location               = var.region
  cloud_run_service_name = google_cloud_run_v2_service.review.name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = startswith(each.value, "group:") ? each.value : endswith(each.value, ".gserviceaccount.com") ? "serviceAccount:${each.value}" : strcontains(each.value, "@") ? "user:${each.value}" : "domain:${each.value}"
}

resource "google_cloud_run_v2_job" "sweep" {
  for_each = local.sweeps

  project             = var.project
  location            = var.region
  name                = local.names.jobs[each.key]
  deletion_protection = false
  labels              = local.labels

  template {
    template {
      service_account = google_service_account.of["sweep"].email
      encryption_key  = var.kms_key
      timeout         = each.value.timeout
      max_retries     = each.value.max_retries

      containers {
        image   = data.google_artifact_registry_docker_image.built.self_link
        command = [local.launcher]
        args    = concat(["--", "python3", "-m", "remediate"], each.value.arguments)

        resources {
          limits = { cpu = "1", memory = var.memory }
        }

        dynamic "env" {
          for_each = local.environment

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
  }

  depends_on = [
    google_project_iam_member.ledger,
    google_secret_manager_secret_iam_member.webhooks,
    google_storage_bucket_iam_member.policy,
    terraform_data.key,
  ]
}

resource "google_cloud_run_v2_job_iam_binding" "sweep" {
  for_each = local.sweeps

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_job.sweep[each.key].name
  role     = "roles/run.invoker"
  members  = [google_service_account.of["trigger"].member]
}

resource "google_cloud_scheduler_job" "sweep" {
  for_each = local.sweeps

  project     = var.project
  region      = var.region
  name        = local.names.schedules[each.key]
  description = each.value.description
  schedule    = each.value.schedule
  time_zone   = "Etc/UTC"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.sweep[each.key].id}:run"

    oauth_token {
      service_account_email = google_service_account.of["trigger"].email
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_binding.sweep]
}

moved {
  from = google_cloud_run_v2_job.sweep
  to   = google_cloud_run_v2_job.sweep["sweep"]
}

moved {
  from = google_cloud_run_v2_job_iam_binding.sweep
  to   = google_cloud_run_v2_job_iam_binding.sweep["sweep"]
}

moved {
  from = google_cloud_scheduler_job.sweep
  to   = google_cloud_scheduler_job.sweep["sweep"]
}
