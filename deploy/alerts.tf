# What somebody has to look at, each with the section of docs/operations.md that says what to do.

locals {
  subscription_ids = join("|", sort([for each in local.subscriptions : element(split("/", each), -1)]))

  # Executions of a job that ended, and how many with a result in two hours: %s is the job's name, and the result.
  ends  = "run_googleapis_com:job_completed_execution_count{monitored_resource=\"cloud_run_job\", job_name=\"%s\"}"
  ended = "sum(increase(run_googleapis_com:job_completed_execution_count{monitored_resource=\"cloud_run_job\", job_name=\"%s\", result=\"%s\"}[2h]))"

  alerts = {
    dead-letters = {
      severity = "ERROR"
      title    = "events became dead letters"
      text     = "Failed deploys that could not be handled, however often they were tried."
      query    = "max(pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\", subscription_id=\"${google_pubsub_subscription.dead_letters.name}\"}) > 0"
      log      = null
    }
    backlog = {
      severity = "WARNING"
      title    = "events wait for more than an hour"
      text     = "Events are not taken, or come again and again."
      query    = "max(pubsub_googleapis_com:subscription_oldest_unacked_message_age{monitored_resource=\"pubsub_subscription\", subscription_id=~\"${local.subscription_ids}\"}) > 3600"
      log      = null
    }
    brake = {
      severity = "WARNING"
      title    = "a brake holds: rules granted as much as they may"
      text     = "More grants in an hour, or to one member, than the limits allow; what comes now is asked."
      query    = null
      log      = "${local.receiver_says}\nseverity=ALERT\njsonPayload.reasons=(\"brake\" OR \"member_brake\")"
    }
    unknown-write = {
      severity = "CRITICAL"
      title    = "a policy write by our identity that the trail does not know"
      text     = "Google Cloud logged more policy writes under the service's identities than its trail has."
      query    = "(sum(increase(${local.counted["writes"]}[2h])) or vector(0)) > (sum(increase(${local.counted["told-writes"]}[2h])) or vector(0)) + 0.5"
      log      = null
    }
    not-understood = {
      severity = "WARNING"
      title    = "deploys fail and no denial is understood"
      text     = "The filter lets failed deploys through, and for a day not one was understood: perhaps the wording changed."
      query    = "(sum(increase(${local.counted["not-understood"]}[1d])) or vector(0)) >= 5 and (sum(increase(${local.counted["understood"]}[1d])) or vector(0)) < 1"
      log      = null
    }
    errors = {
      severity = "WARNING"
      title    = "errors"
      text     = "The service told of more than ten errors within a quarter of an hour."
      query    = "${format(local.errors, "15m", "15m")} > 10"
      log      = null
    }
    critical = {
      severity = "CRITICAL"
      title    = "something that nobody expected, or a policy file that is not taken"
      text     = "The line says which: a place in the code, or what is wrong with the policy file; the policy of before stays in force."
      query    = null
      log      = "${local.ours}\nseverity=CRITICAL"
    }
    sweep-failed = {
      severity = "WARNING"
      title    = "a sweep failed"
      text     = "What is due may not have been done: grants that end, proposals that lapse, denials that never arrived."
      query    = "${format(local.ended, local.names.jobs.sweep, "failed")} > 0 or (${format(local.ended, local.names.jobs.due, "failed")} > 0 unless ${format(local.ended, local.names.jobs.due, "succeeded")} > 0)"
      log      = null
    }
    sweep-missing = {
      severity = "WARNING"
      title    = "a sweep does not run"
      text     = "No sweep of one kind ended for hours: its schedule is paused, or may not start the job any more."
      query    = "absent_over_time(${format(local.ends, local.names.jobs.sweep)}[${var.sweep_schedule == "7 * * * *" ? "3h" : "1d"}]) or absent_over_time(${format(local.ends, local.names.jobs.due)}[${var.due_schedule == "*/5 * * * *" ? "1h" : "1d"}])" # a longer window than a day is a preview
      log      = null
    }
  }

  channels = concat(var.notification_channels, [for each in google_monitoring_notification_channel.email : each.id])
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alert_emails)

  project      = var.project
  display_name = "${var.name}: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }

  depends_on = [google_project_service.used]
}

resource "google_monitoring_alert_policy" "on" {
  for_each = local.alerts

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: ${each.value.title}"
    content   = "${each.value.text}\n\nWhat to do: ${var.documentation}#${each.key}"

    dynamic "links" {
      for_each = startswith(var.documentation, "https://") ? [1] : []

      content {
        display_name = "What to do"
        url          = "${var.documentation}#${each.key}"
      }
    }
  }

  conditions {
    display_name = each.value.title

    dynamic "condition_prometheus_query_language" {
      for_each = each.value.query[*]

      content {
        query                     = condition_prometheus_query_language.value
        duration                  = "600s"
        evaluation_interval       = "60s"
        disable_metric_validation = true # nothing has been counted yet when this is made
      }
    }

    dynamic "condition_matched_log" {
      for_each = each.value.log[*]

      content {
        filter = condition_matched_log.value
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"

    dynamic "notification_rate_limit" {
      for_each = each.value.log[*]

      content {
        period = "3600s"
      }
    }
  }

  depends_on = [google_logging_metric.counted]
}
