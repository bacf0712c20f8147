# One page that says how it goes: what came in, what became of it, how long it waited, what went wrong.

locals {
  charts = [
    { title = "Denials understood, an hour", query = "sum(increase(${local.counted["understood"]}[1h]))" },
    { title = "Failed deploys not understood, an hour", query = "sum(increase(${local.counted["not-understood"]}[1h]))" },
    { title = "Policy writes, as Google Cloud logged them", query = "sum(increase(${local.counted["writes"]}[1h]))" },
    { title = "Policy writes, as the trail has them", query = "sum(increase(${local.counted["told-writes"]}[1h]))" },
    { title = "Oldest event that waits, seconds", query = "max(pubsub_googleapis_com:subscription_oldest_unacked_message_age{monitored_resource=\"pubsub_subscription\", subscription_id=~\"${local.subscription_ids}\"})" },
    { title = "Dead letters", query = "max(pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\", subscription_id=\"${google_pubsub_subscription.dead_letters.name}\"})" },
    { title = "Receiver: instances", query = "sum(max_over_time(run_googleapis_com:container_instance_count{monitored_resource=\"cloud_run_revision\", service_name=\"${google_cloud_run_v2_service.receiver.name}\"}[5m]))" },
    { title = "Errors, an hour", query = format(local.errors, "1h", "1h") },
  ]
}

resource "google_monitoring_dashboard" "overview" {
  project = var.project
  dashboard_json = jsonencode({
    displayName = var.name
    mosaicLayout = {
      columns = 48
      tiles = [
        for at, chart in local.charts : {
          # Google Cloud leaves a zero out of its answer; written here, it would be a change in every plan.
          for key, value in {
            xPos   = at % 2 * 24
            yPos   = floor(at / 2) * 16
            width  = 24
            height = 16
            widget = {
              title = chart.title
              xyChart = {
                dataSets = [{ plotType = "LINE", timeSeriesQuery = { prometheusQuery = chart.query } }]
              }
            }
          } : key => value if value != 0
        }
      ]
    }
  })

  depends_on = [google_logging_metric.counted]
}
