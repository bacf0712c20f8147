# A whole organization, proposing only. Needs, on the organization: Logs Configuration Writer, Organization Role
# Administrator and Organization Administrator (or Security Admin); on the project: Owner.
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
