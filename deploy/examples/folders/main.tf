# Two folders and a registry that lies outside of them, in enforce mode. The service can change only registries that opted in by
# tag: IAM checks this. The person who runs Terraform needs the roles of the organization example.
module "remediate" {
  source = "../.."

  project   = "remediate-ops"
  region    = "europe-west1"
  scope     = ["folders/123456789012", "folders/210987654321"]
  reviewers = ["ana@example.com", "group:platform@example.com"]
  mode      = "enforce"

  registries   = ["projects/platform-images"]
  policy_file  = "${path.module}/../../policies/platform-images.yaml"
  trail_locked = true
}

output "review_page" {
  value = module.remediate.review_page
}

output "opt_in" {
  value = module.remediate.opt_in
}
