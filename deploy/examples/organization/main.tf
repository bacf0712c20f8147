# A whole organization, in dry-run mode. The person who runs Terraform needs these roles. On the organization:
# roles/logging.configWriter, roles/iam.organizationRoleAdmin, roles/iam.securityAdmin, roles/resourcemanager.folderViewer
# and roles/resourcemanager.tagAdmin. On the project: roles/owner and roles/storage.admin.
module "remediate" {
  source = "../.."

  project   = "remediate-ops"
  region    = "europe-west1"
  scope     = ["organizations/123456789012"]
  reviewers = ["ana@example.com", "group:platform@example.com"]
  mode      = "dry-run"

  alert_emails = ["platform@example.com"]
}

output "review_page" {
  value = module.remediate.review_page
}

output "try_it" {
  value = module.remediate.try_it
}
