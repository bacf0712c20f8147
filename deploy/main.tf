# Names, numbers and APIs that everything else stands on.

locals {
  kind   = split("/", var.scope[0])[0]
  scopes = toset(var.scope)

  organization = {
    organizations = one([for each in var.scope : split("/", each)[1] if startswith(each, "organizations/")])
    folders       = one(distinct([for each in data.google_folder.watched : trimprefix(each.organization, "organizations/")]))
    projects      = null
  }[local.kind]

  number = data.google_project.here.number
  camel  = join("", [for at, word in split("-", var.name) : at == 0 ? word : title(word)])
  labels = merge({ app = var.name }, var.labels)

  # Google's own identities, which act in this project. Source: "Service agents" (IAM).
  agents = {
    eventarc = "serviceAccount:service-${local.number}@gcp-sa-eventarc.iam.gserviceaccount.com"
    iap      = "serviceAccount:service-${local.number}@gcp-sa-iap.iam.gserviceaccount.com"
    pubsub   = "serviceAccount:service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  }

  # installation.yaml says what an installation consists of; the doctor, install.sh and the sandbox go by the same file.
  installation = yamldecode(file("${path.module}/installation.yaml"))

  # The names of all resources: local.names.topics.denials.
  names = {
    for kind, parts in local.installation.resources : kind => {
      for part, each in parts :
      part => replace(replace(replace(each.name, "<name>", var.name), "<camel>", local.camel), "<project>", var.project)
    }
  }

  # The APIs that are always needed, and those whose condition holds.
  services = toset([
    for each in local.installation.apis : each.api
    if lookup({ always = true, troubleshooter = var.troubleshooter, eventarc = var.delivery == "eventarc" }, try(each.only, "always"), false)
  ])
}

data "google_project" "here" {
  project_id = var.project
}

data "google_folder" "watched" {
  for_each = toset([for each in var.scope : each if startswith(each, "folders/")])

  folder              = each.value
  lookup_organization = true
}

resource "google_project_service" "used" {
  for_each = local.services

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}

# Eventarc, Identity-Aware Proxy and Pub/Sub act through identities that exist once they are asked for. Those of Eventarc and
# Pub/Sub hold nothing yet then: their own role, which others in this project may need too, so that no destroy takes it away.
resource "terraform_data" "agents" {
  for_each = toset([for each in concat(var.delivery == "eventarc" ? ["eventarc"] : [], ["iap", "pubsub"]) : "${each}.googleapis.com"])

  triggers_replace = [var.project, each.value]

  provisioner "local-exec" {
    command = join(" && ", concat(
      ["gcloud beta services identity create --quiet --project=${var.project} --service=${each.value}"],
      [for agent in ["eventarc", "pubsub"] : join(" ", [
        "gcloud projects add-iam-policy-binding ${var.project} --quiet --condition=None",
        "--role=roles/${agent}.serviceAgent --member=${local.agents[agent]}",
      ]) if startswith(each.value, agent)],
    ))
  }

  depends_on = [google_project_service.used]
}
