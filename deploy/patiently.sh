#!/bin/sh
# Run a command up to four times, for Terraform and install.sh: rights and agents that were just made take minutes to count.
# Source: "Access change propagation" (IAM): typically two minutes, at times seven or more.
# Usage: deploy/patiently.sh COMMAND [ARGUMENT...]; PAUSES are the seconds between two tries.
for pause in ${PAUSES:-45 90 180}; do
  "$@" && exit 0
  printf 'Failed. Rights that were just granted may not count yet; the next try is in %s seconds.\n' "$pause" >&2
  sleep "$pause"
done
exec "$@"
