# Where remediations and their trails live: one Firestore database, protected from deletion, with the past at hand.

locals {
  # The composite indexes, each by the name that it has in the state, and the fields' own.
  indexes = {
    for each in [
      for index in local.installation.indexes : {
        in = index.in
        by = [for field in index.by : { path = trimsuffix(field, " desc"), order = endswith(field, " desc") ? "DESCENDING" : "ASCENDING" }]
      }
    ] : join(" ", concat([each.in], [for field in each.by : "${field.path} ${field.order}"])) => each
  }
  fields = { for each in local.installation.fields : "${each.in} ${each.field}" => each }
}

resource "google_firestore_database" "ledger" {
  project                           = var.project
  name                              = local.names.databases.ledger
  location_id                       = coalesce(var.ledger_location, var.region)
  type                              = "FIRESTORE_NATIVE"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  deletion_policy                   = "ABANDON"

  dynamic "cmek_config" {
    for_each = var.kms_key[*]

    content {
      kms_key_name = cmek_config.value
    }
  }

  depends_on = [google_project_service.used, terraform_data.key]
}

resource "google_firestore_index" "ledger" {
  for_each = local.indexes

  project     = var.project
  database    = google_firestore_database.ledger.name
  collection  = each.value.in
  query_scope = "COLLECTION"

  dynamic "fields" {
    for_each = each.value.by

    content {
      field_path = fields.value.path
      order      = fields.value.order
    }
  }
}

resource "google_firestore_field" "ledger" {
  for_each = local.fields

  project    = var.project
  database   = google_firestore_database.ledger.name
  collection = each.value.in
  field      = each.value.field

  index_config {
    dynamic "indexes" {
      for_each = setproduct(each.value.scopes, ["ASCENDING", "DESCENDING"])

      content {
        query_scope = indexes.value[0]
        order       = indexes.value[1]
      }
    }
  }
}
