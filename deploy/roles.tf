# The rights on what is watched, as narrow as the calls are: installation.yaml is the one table of both.

locals {
  # What a role of a project cannot hold, as it is about folders and the organization, is left out of it.
  holds = {
    for role in ["reader", "writer", "ancestry"] : role => distinct([
      for each in local.installation.calls : each.permission
      if contains(each.roles, role) && (local.kind != "projects" || !can(each.only))
    ])
  }

  # Folders that are watched may lie in others: which organization they belong to is read above them, by a role of its own.
  roles = {
    for role, each in local.installation.resources.roles : role => {
      id          = local.names.roles[role]
      title       = "${var.name}: ${each.title}"
      description = each.why
    } if role != "ledger" && try(each.only, local.kind) == local.kind
  }

  role_ids = local.kind == "projects" ? {
    for role, made in google_project_iam_custom_role.watching : role => made.id
    } : {
    for role, made in google_organization_iam_custom_role.watching : role => made.id
  }

  # Where the roles count: what is watched, and registries outside of it.
  places = setunion(local.scopes, var.registries)

  # The service's own project need not lie in watched folders; the doctor's synthetic denial names a repository there.
  seen = local.kind == "folders" ? setunion(local.places, ["projects/${var.project}"]) : local.places

  # Each grant of a role: who, which role, where.
  grants = merge(
    { for pair in setproduct(local.readers, local.seen) : "reader ${join(" ", pair)}" => { who = pair[0], role = "reader", where = pair[1] } },
    { for pair in setproduct(local.writers, local.places) : "writer ${join(" ", pair)}" => { who = pair[0], role = "writer", where = pair[1] } },
  )

  opt_in = coalesce(var.registry_opt_in, local.kind == "projects" ? "none" : "tag")

  # The tag's two values, as IAM compares them; null where nobody has to opt in. A project has one value of a tag at most.
  opted_in = one([
    for key in google_tags_tag_key.opted_in : {
      values = [one(google_tags_tag_value.opted_in[*].id), one(google_tags_tag_value.newcomers[*].id)]
      shown  = key.namespaced_name
      expression = join(" || ", [
        for value in [one(google_tags_tag_value.opted_in[*].id), one(google_tags_tag_value.newcomers[*].id)] :
        "resource.matchTagId('${key.id}', '${value}')"
      ])
    }
  ])
}

resource "google_organization_iam_custom_role" "watching" {
  for_each = local.kind == "projects" ? {} : local.roles

  org_id      = local.organization
  role_id     = each.value.id
  title       = each.value.title
  description = each.value.description
  permissions = local.holds[each.key]

  depends_on = [google_project_service.used]
}

resource "google_project_iam_custom_role" "watching" {
  for_each = local.kind == "projects" ? local.roles : {}

  project     = var.project
  role_id     = each.value.id
  title       = each.value.title
  description = each.value.description
  permissions = local.holds[each.key]

  depends_on = [google_project_service.used]
}

resource "google_organization_iam_member" "watching" {
  for_each = local.kind == "organizations" ? local.grants : {}

  org_id = local.organization
  role   = local.role_ids[each.value.role]
  member = google_service_account.of[each.value.who].member

  dynamic "condition" {
    for_each = each.value.role == "writer" ? local.opted_in[*] : []

    content {
      title       = "registries that opted in"
      description = "Only in projects that have the tag ${condition.value.shown}"
      expression  = condition.value.expression
    }
  }
}

resource "google_folder_iam_member" "watching" {
  for_each = { for name, each in local.grants : name => each if startswith(each.where, "folders/") }

  folder = each.value.where
  role   = local.role_ids[each.value.role]
  member = google_service_account.of[each.value.who].member

  dynamic "condition" {
    for_each = each.value.role == "writer" ? local.opted_in[*] : []

    content {
      title       = "registries that opted in"
      description = "Only in projects that have the tag ${condition.value.shown}"
      expression  = condition.value.expression
    }
  }
}

resource "google_project_iam_member" "registries" {
  for_each = { for name, each in local.grants : name => each if local.kind == "folders" && startswith(each.where, "projects/") }

  project = trimprefix(each.value.where, "projects/")
  role    = local.role_ids[each.value.role]
  member  = google_service_account.of[each.value.who].member

  dynamic "condition" {
    for_each = each.value.role == "writer" ? local.opted_in[*] : []

    content {
      title       = "registries that opted in"
      description = "Only in projects that have the tag ${condition.value.shown}"
      expression  = condition.value.expression
    }
  }
}

resource "google_organization_iam_member" "above" {
  for_each = local.kind == "folders" ? local.readers : toset([])

  org_id = local.organization
  role   = local.role_ids["ancestry"]
  member = google_service_account.of[each.key].member
}

resource "google_project_iam_member" "watching" {
  for_each = local.kind == "projects" ? local.grants : {}

  project = var.project
  role    = local.role_ids[each.value.role]
  member  = google_service_account.of[each.value.who].member
}

# The opt-in: a registry's owner binds the tag to the project, and IAM lets the writer in there and nowhere else.
resource "google_tags_tag_key" "opted_in" {
  count = local.opt_in == "tag" ? 1 : 0

  parent      = "organizations/${local.organization}"
  short_name  = var.name
  description = "Whether ${var.name} may change the policies of a project's repositories"

  depends_on = [google_project_service.used]
}

resource "google_tags_tag_value" "opted_in" {
  count = local.opt_in == "tag" ? 1 : 0

  parent      = google_tags_tag_key.opted_in[0].id
  short_name  = "yes"
  description = "The owners of this project's registry agreed"
}

# The same, and the built-in rule also grants to members that never deployed from these repositories.
resource "google_tags_tag_value" "newcomers" {
  count = local.opt_in == "tag" ? 1 : 0

  parent      = google_tags_tag_key.opted_in[0].id
  short_name  = "deployers"
  description = "The owners of this project's registry agreed, for members that never deployed from it too"
}

# The second lock: even with a role that is granted by mistake, no service account of this project sets a policy where the tag
# is missing. Source: "Deny access to resources" (IAM), permissions supported in deny policies.
resource "google_iam_deny_policy" "untagged" {
  count = var.deny_policy ? 1 : 0

  parent       = urlencode("cloudresourcemanager.googleapis.com/organizations/${local.organization}")
  name         = var.name
  display_name = "${var.name}: no policy changes where registries did not opt in"

  rules {
    description = "Service accounts of ${var.project} change policies of repositories in tagged projects alone"

    deny_rule {
      denied_principals  = ["principalSet://cloudresourcemanager.googleapis.com/projects/${local.number}/type/ServiceAccount"]
      denied_permissions = ["artifactregistry.googleapis.com/repositories.setIamPolicy"]

      denial_condition {
        title      = "registries that did not opt in"
        expression = "!(${local.opted_in.expression})"
      }
    }
  }

  depends_on = [google_project_service.used]
}
