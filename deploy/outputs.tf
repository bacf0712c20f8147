output "review_page" {
  description = "Where reviewers decide."
  value       = google_cloud_run_v2_service.review.uri
}

output "identities" {
  description = "The service accounts that act, by what they do."
  value       = { for key, each in google_service_account.of : key => each.email }
}

output "opt_in" {
  description = "How a registry's owner lets the writer in, where registry_opt_in is tag: yes, or deployers for newcomers too."
  value = local.opted_in == null ? null : {
    for name, value in zipmap(["yes", "deployers"], local.opted_in.values) : name => join(" ", [
      "gcloud resource-manager tags bindings create --tag-value=${value}",
      "--parent=//cloudresourcemanager.googleapis.com/projects/$(gcloud projects describe REGISTRY_PROJECT --format='value(projectNumber)')",
    ])
  }
}

output "try_it" {
  description = "Commands that show whether it works: cause a denial, see it arrive, sweep at once."
  value       = <<-EOT
    # Anybody's failed deploy will do; this one names an image that its deployer may not read:
    gcloud run deploy try-remediate --project=A_WATCHED_PROJECT --region=${var.region} --image=REGION-docker.pkg.dev/REGISTRY_PROJECT/REPOSITORY/IMAGE
    # A minute later, what became of it:
    gcloud logging read 'resource.labels.service_name="${google_cloud_run_v2_service.receiver.name}" jsonPayload.outcome:*' --project=${var.project} --freshness=10m --format='value(jsonPayload.message)'
    # Do at once what is due:
    gcloud run jobs execute ${google_cloud_run_v2_job.sweep["sweep"].name} --project=${var.project} --region=${var.region} --wait
  EOT
}

output "switch_mode" {
  description = "How rules come to write, and how they are stopped."
  value       = <<-EOT
    # Set `mode = "enforce"` where the other variables stand (terraform.tfvars, or the module's block), and apply again: the
    # receiver gets the writer's role, and rules grant what they say. A -var on the command line lasts until the next apply.
    # Back: at once by a switch (${google_cloud_run_v2_service.review.uri}/mode), for good by `mode = "dry-run"` and apply.
  EOT
}

locals {
  # To install again: the bucket of denials, if there is one.
  denials_again = [
    for each in google_logging_project_bucket_config.denials : join("\n", [
      "",
      "# The same for the bucket of denials, which was deleted with what it held:",
      "gcloud logging buckets undelete ${each.bucket_id} --project=${var.project} --location=${var.region}",
      "terraform import 'google_logging_project_bucket_config.denials[0]' projects/${var.project}/locations/${var.region}/buckets/${each.bucket_id}",
    ])
  ]
}

output "remove" {
  description = "How to remove everything, and what stays by choice."
  value       = <<-EOT
    # Before: remove the tag from the projects that have it (registry_opt_in): gcloud resource-manager tags bindings delete ...
    # If the trail is locked, it cannot be deleted: terraform state rm google_logging_project_bucket_config.trail
    terraform destroy
    # What stays: every grant on a repository (to remove one, revoke it on the page first), the Firestore database
    # ${google_firestore_database.ledger.name}, which is protected against deletion, and the log bucket ${google_logging_project_bucket_config.trail.bucket_id} if it is locked, for ${var.trail_days} days.
    gcloud firestore databases update --project=${var.project} --database=${google_firestore_database.ledger.name} --no-delete-protection
    gcloud firestore databases delete --project=${var.project} --database=${google_firestore_database.ledger.name}
    # To install again within seven days, undelete the trail's bucket first. Terraform undeletes the custom roles by itself; by hand:
    # gcloud iam roles undelete ${basename(google_project_iam_custom_role.ledger.id)} --project=${var.project}
    gcloud logging buckets undelete ${google_logging_project_bucket_config.trail.bucket_id} --project=${var.project} --location=${var.region}
    terraform import google_logging_project_bucket_config.trail projects/${var.project}/locations/${var.region}/buckets/${google_logging_project_bucket_config.trail.bucket_id}${join("", local.denials_again)}
    # To go on with the ledger that stayed (in a module, with its name before the address):
    terraform import google_firestore_database.ledger projects/${var.project}/databases/${google_firestore_database.ledger.name}
  EOT
}
