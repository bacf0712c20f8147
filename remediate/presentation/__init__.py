"""How texts are written for terminals, files and other tools. Knows no record.

In: values and names. Out: safe text, gcloud and Terraform equivalents. Imports `iam` alone.
"""
