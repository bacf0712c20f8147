# Secrets, none of which Terraform keeps: the pages' key is made in memory and written once, webhooks are put in by you.

ephemeral "random_password" "review" {
  length  = 48
  special = false
}

resource "google_secret_manager_secret" "review" {
  project   = var.project
  secret_id = local.names.secrets.review
  labels    = local.labels

  replication {
    user_managed {
      replicas {
        location = var.region

        dynamic "customer_managed_encryption" {
          for_each = var.kms_key[*]

          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

resource "google_secret_manager_secret_version" "review" {
  secret                 = google_secret_manager_secret.review.id
  secret_data_wo         = ephemeral.random_password.review.result
  secret_data_wo_version = 1
}

# The pages alone sign forms.
resource "google_secret_manager_secret_iam_member" "review" {
  project   = var.project
  secret_id = google_secret_manager_secret.review.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.of["review"].member
}

# Whoever makes a transition tells of it.
resource "google_secret_manager_secret_iam_member" "webhooks" {
  for_each = {
    for pair in setproduct(local.readers, compact([var.slack_webhook_secret, var.chat_webhook_secret])) : join(" ", pair) => pair
  }

  project   = var.project
  secret_id = each.value[1]
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.of[each.value[0]].member
}
