"""Formats texts for terminals, files and other tools. Does not depend on records.

In: values and names. Out: safe text, gcloud and Terraform equivalents. Imports only `iam`.
"""
