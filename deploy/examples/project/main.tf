# One project, for trying out: no right on its organization is needed. Reviewers are people of that organization.
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
