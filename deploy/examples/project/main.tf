# One project, for trying out, in dry-run mode. The person who runs Terraform needs roles/owner on the project, and no role
# on its organization. Reviewers must belong to that organization.
module "remediate" {
  source = "../.."

  project   = "shop-frontend"
  region    = "europe-west1"
  scope     = ["projects/shop-frontend"]
  reviewers = ["ana@example.com"]
}

output "review_page" {
  value = module.remediate.review_page
}

output "try_it" {
  value = module.remediate.try_it
}
