# Two folders, rules that write, and only into registries that opted in by tag: IAM itself keeps the writer out of others.
module "remediate" {
  source = "../.."

  project   = "remediate-ops"
  region    = "europe-west1"
  scope     = ["folders/123456789012", "folders/210987654321"]
  reviewers = ["example.com"]
  mode      = "enforce"

  registry_opt_in = "tag"
  policy_file     = "${path.module}/../../policies/platform-images.yaml"
  trail_locked    = true
}

output "review_page" {
  value = module.remediate.review_page
}

output "opt_in" {
  value = module.remediate.opt_in
}
