# A key of your own (Cloud KMS), for everything that keeps data: kms_key names it, and without it Google's keys do.
#
# Each service uses the key by an agent of its own, which may use it before anything of that service is made: what is made with
# the key waits for terraform_data.key. Only Terraform does this; install.sh knows no key. Sources: "CMEK" of each service,
# "Service agents" (IAM).

locals {
  keyed = var.kms_key == null ? toset([]) : toset(["artifactregistry", "firestore", "logging", "pubsub", "run", "secretmanager", "storage"])

  # The project, known once its logging API is on: a first apply waits for that. depends_on, or the reference in the data source
  # itself, would make every API that is added later replace the agent's grant.
  logging_project = split("/", google_project_service.used["logging.googleapis.com"].id)[0]

  # Who uses the key. Cloud Logging says its agent's name itself.
  key_agents = {
    artifactregistry = "service-${local.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    firestore        = "service-${local.number}@gcp-sa-firestore.iam.gserviceaccount.com"
    logging          = one(data.google_logging_project_cmek_settings.here[*].service_account_id)
    pubsub           = "service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    run              = "service-${local.number}@serverless-robot-prod.iam.gserviceaccount.com"
    secretmanager    = "service-${local.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    storage          = "service-${local.number}@gs-project-accounts.iam.gserviceaccount.com"
  }
}

# Calls about the key may count on this project, wherever the key is.
resource "google_project_service" "keys" {
  count = var.kms_key == null ? 0 : 1

  project            = var.project
  service            = "cloudkms.googleapis.com"
  disable_on_destroy = false

  depends_on = [google_project_service.used]
}

# Asking for its name makes Cloud Logging's agent.
data "google_logging_project_cmek_settings" "here" {
  count = var.kms_key == null ? 0 : 1

  project = local.logging_project
}

# The other agents exist once they are asked for; Cloud Storage has a command of its own. main.tf asks for Pub/Sub's.
resource "terraform_data" "key_agents" {
  for_each = setsubtract(local.keyed, ["logging", "pubsub"])

  triggers_replace = [var.project, each.value]

  provisioner "local-exec" {
    command = (
      each.value == "storage"
      ? "gcloud storage service-agent --quiet --project=${var.project}"
      : "gcloud beta services identity create --quiet --project=${var.project} --service=${each.value}.googleapis.com"
    )
  }

  depends_on = [google_project_service.used]
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = local.keyed

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${local.key_agents[each.value]}"

  depends_on = [google_project_service.keys, terraform_data.agents, terraform_data.key_agents]
}

# A new grant takes a moment until each service sees it, and a resource that comes too early fails.
resource "terraform_data" "key" {
  count = var.kms_key == null ? 0 : 1

  triggers_replace = [var.kms_key]

  provisioner "local-exec" {
    command = "sleep 120" # typically; "Access change propagation" (IAM)
  }

  depends_on = [google_kms_crypto_key_iam_member.agents]
}
