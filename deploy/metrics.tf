# What is counted, out of what the service says and of what Google Cloud says about it.

locals {
  receiver_says = "resource.type=\"cloud_run_revision\"\nresource.labels.service_name=\"${local.names.services.receiver}\""

  metrics = {
    understood = {
      bucket      = null
      description = "Denials that were understood: who could not read which repository"
      filter      = "${local.receiver_says}\njsonPayload.outcome=(\"grant\" OR \"ask\" OR \"refuse\")\njsonPayload.repository:*\njsonPayload.member:*\nNOT jsonPayload.insert_id=~\"^canary-\"" # the doctor's own denial says nothing of others
    }
    not-understood = {
      bucket      = null
      description = "Failed deploys that the filter let through and nobody understood"
      filter = join("\n", [
        local.receiver_says,
        "(jsonPayload.reasons=(${join(" OR ", formatlist("\"%s\"", local.not_understood))}) OR jsonPayload.message=\"unreadable event\")",
      ])
    }
    errors = {
      bucket      = null
      description = "Errors that the service itself told of"
      filter      = "${local.ours}\nseverity>=ERROR\njsonPayload.message:*" # what we say, not Cloud Run's own lines of requests
    }
    # These two are counted in the trail's bucket, where both witnesses are.
    writes = {
      bucket      = google_logging_project_bucket_config.trail.id
      description = "Policy writes under our identities, as Google Cloud logged them"
      filter      = local.writes
    }
    told-writes = {
      bucket      = google_logging_project_bucket_config.trail.id
      description = "Transitions that change a policy, as the trail has them"
      # A renewal puts an end off, and writes no policy. A person's command writes under the person's own identity.
      filter = "NOT log_id(\"remediate\")\njsonPayload.trail.after=(\"granted\" OR \"revoked\" OR \"expired\")\nNOT (jsonPayload.trail.before=\"granted\" AND jsonPayload.trail.after=\"granted\")"
    }
  }

  # The reasons of an entry whose words or structure were not enough: docs/reasons.md.
  not_understood = ["other_failure", "other_permission", "repository_unknown", "member_unknown", "reader_unknown"]

  # The metrics as PromQL names them: everything that is no letter, digit or colon is an underscore there.
  counted = {
    for key, each in local.metrics : key => format(
      "logging_googleapis_com:user_%s{monitored_resource%s}",
      replace("${var.name}-${key}", "-", "_"),
      each.bucket != null ? "=\"logging_bucket\"" : "=\"cloud_run_revision\"",
    )
  }

  # Both the services and the job have errors, and each kind of resource is named exactly: %s is the time, twice.
  errors = join(" + ", [
    for kind in ["cloud_run_revision", "cloud_run_job"] :
    "(sum(increase(${replace(local.counted["errors"], "cloud_run_revision", kind)}[%s])) or vector(0))"
  ])
}

resource "google_logging_metric" "counted" {
  for_each = local.metrics

  project     = var.project
  name        = "${var.name}-${each.key}"
  description = each.value.description
  filter      = each.value.filter
  bucket_name = each.value.bucket

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }
}
