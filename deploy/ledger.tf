# Where remediations and their trails live: one Firestore database, protected from deletion, with the past at hand.

locals {
  indexes = jsondecode(file("${path.module}/firestore.indexes.json"))
}

resource "google_firestore_database" "ledger" {
  project                           = var.project
  name                              = var.name
  location_id                       = coalesce(var.ledger_location, var.region)
  type                              = "FIRESTORE_NATIVE"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  deletion_policy                   = "ABANDON"

  depends_on = [google_project_service.used]
}

resource "google_firestore_index" "ledger" {
  for_each = {
    for each in local.indexes.indexes :
    join(" ", concat([each.collectionGroup], [for field in each.fields : "${field.fieldPath} ${field.order}"])) => each
  }

  project     = var.project
  database    = google_firestore_database.ledger.name
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path = fields.value.fieldPath
      order      = fields.value.order
    }
  }
}

resource "google_firestore_field" "ledger" {
  for_each = { for each in local.indexes.fieldOverrides : "${each.collectionGroup} ${each.fieldPath}" => each }

  project    = var.project
  database   = google_firestore_database.ledger.name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes

      content {
        order       = indexes.value.order
        query_scope = indexes.value.queryScope
      }
    }
  }
}
