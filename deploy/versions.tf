# What this module is planned with. Terraform 1.11 brought write-only arguments: the pages' secret is in no state file.
terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source = "hashicorp/google"
      # `iap_enabled` of a Cloud Run service left the preview with 7.21; 8.0 changes the type of write-only versions.
      version = ">= 7.21, < 8.0"
    }
    random = {
      source  = "hashicorp/random"
      version = ">= 3.7, < 4.0"
    }
  }
}
