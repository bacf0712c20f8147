# shellcheck shell=bash disable=SC2154 # install.sh reads this file: its arguments, names and functions are known here
# Delete what install.sh created, in the reverse order. A thing that is not there any more is passed over; any other failure
# ends it, and it can be run again.

absent='NOT_FOUND|[Nn]ot found|could not be found|does not exist|matched no objects'

# gone COMMAND...: delete a thing; where it is not there, all is well.
gone() {
  local told
  if told=$(run "$@" 2>&1); then
    printf '%s\n' "$told"
  elif [[ $told =~ $absent ]]; then
    printf '%s\n# It is not there.\n' "${told%%$'\n'*}"
  else
    printf '%s\n' "$told" >&2 && exit 1
  fi
}

# found PLACEHOLDER COMMAND...: ask for a thing, and keep the answer in $answer; false where it is not there.
found() {
  local errors told
  answer=$1 && shift
  [[ -z $dry ]] || return 0
  errors=$(mktemp)
  if answer=$("$@" 2>"$errors"); then rm "$errors" && return; fi
  told=$(cat "$errors") && rm "$errors"
  [[ $told =~ $absent ]] || { printf '%s\n' "$told" >&2 && exit 1; }
  return 1
}

# sink_gone PLACE NAME: delete a sink.
sink_gone() { gone gcloud logging sinks delete "$2" --quiet --"${1%s/*}=${1#*/}"; }

# sink_out PLACE NAME CONDITION: delete a sink that writes to a log bucket, and its right. One identity of Google's may write
# for several installations, so that it loses the right on this bucket alone.
sink_out() {
  if [[ $kind != projects ]] && found "SINK_OF_$1" gcloud logging sinks describe "$2" --"${1%s/*}=${1#*/}" --format='value(writerIdentity)'; then
    withdraw "projects/$project" roles/logging.bucketWriter "$answer" "$3"
  fi
  sink_gone "$1" "$2"
}

left=()

echo "# The way of a failed deploy"
for each in ${triggers[@]+"${triggers[@]}"}; do # each deletes its subscription
  gone gcloud eventarc triggers delete "$each" "${here_[@]}" --location="$region"
done
[[ $delivery != push ]] || gone gcloud pubsub subscriptions delete "$subscription_denials" "${here_[@]}"
if [[ $kind == projects && -n $has_topic ]]; then sink_gone "$scope" "$sink_denials"; fi
if [[ $kind != projects ]]; then
  for place in "${scopes[@]}"; do
    sink_gone "$place" "$sink_denials"
    sink_out "$place" "$sink_view" "$in_the_denials"
  done
  gone gcloud logging views delete "$log_view_denials" "${here_[@]}" --bucket="$log_bucket_denials" --location="$region"
  if found '' gcloud logging buckets describe "$log_bucket_denials" "${here_[@]}" --location="$region" --format='value(lifecycleState)' && [[ $answer != DELETE_REQUESTED ]]; then
    gone gcloud logging buckets delete "$log_bucket_denials" "${here_[@]}" --location="$region"
  fi
fi

echo "# The trail"
for place in "${places[@]}"; do sink_out "$place" "$sink_writes" "$in_the_trail"; done
sink_gone "projects/$project" "$sink_trail"
if found '' gcloud logging buckets describe "$log_bucket_trail" "${here_[@]}" --location="$region" --format='value(locked,lifecycleState)'; then
  case $answer in
    True*) left+=("the log bucket $log_bucket_trail: it is locked, and stays until its days are over") ;;
    *DELETE_REQUESTED) ;;
    *) gone gcloud logging buckets delete "$log_bucket_trail" "${here_[@]}" --location="$region" ;;
  esac
fi

echo "# What runs"
for each in "$schedule_due" "$schedule_sweep"; do gone gcloud scheduler jobs delete "$each" "${here_[@]}" --location="$region"; done
for each in "$job_due" "$job_sweep"; do gone gcloud run jobs delete "$each" "${here_[@]}" --region="$region"; done
if found '' gcloud run services describe "$service_review" "${here_[@]}" --region="$region" --format='value(metadata.name)'; then
  for each in "${lets_in[@]}"; do
    gone gcloud beta iap web remove-iam-policy-binding "${here_[@]}" --resource-type=cloud-run --service="$service_review" --region="$region" \
      --role=roles/iap.httpsResourceAccessor --member="$each" --condition=None
  done
fi
for each in "$service_review" "$service_writer" "$service_receiver"; do gone gcloud run services delete "$each" "${here_[@]}" --region="$region"; done

echo "# The image"
gone gcloud artifacts repositories delete "$repository_images" "${here_[@]}" --location="$region"
gone gcloud storage rm "gs://$bucket_source" --recursive "${here_[@]}"

echo "# The pages' secret"
gone gcloud secrets delete "$secret_review" "${here_[@]}"

echo "# Topics, and what could not be delivered"
for each in "$subscription_approvals" "$subscription_dead_letters"; do gone gcloud pubsub subscriptions delete "$each" "${here_[@]}"; done
for each in denials notices approvals dead_letters; do
  [[ $each == denials && -z $has_topic ]] || gone gcloud pubsub topics delete "$(named topic "$each")" "${here_[@]}"
done

echo "# The ledger"
if [[ -z $with_ledger ]]; then
  left+=("the database $database_ledger: it has the records of who approved what; --with-ledger deletes it")
elif found '' gcloud firestore databases describe --database="$database_ledger" "${here_[@]}" --format='value(name)'; then
  run gcloud firestore databases update --database="$database_ledger" "${here_[@]}" --no-delete-protection
  gone gcloud firestore databases delete --database="$database_ledger" "${here_[@]}"
fi

echo "# Who may do what"
[[ -n $has_topic ]] || withdraw "projects/$project" roles/eventarc.eventReceiver "$(member trigger)"
withdraw "projects/$project" roles/logging.logWriter "$(member builder)"
for each in receiver review sweep writer; do
  withdraw "projects/$project" "projects/$project/roles/$role_ledger" "$(member $each)"
  [[ $kind != folders ]] || withdraw "organizations/$organization" "$home/roles/$role_ancestry" "$(member $each)"
  for place in "${places[@]}"; do
    withdraw "$place" "$home/roles/$role_writer" "$(member $each)"
    withdraw "$place" "$home/roles/$role_reader" "$(member $each)"
  done
  [[ $kind != folders ]] || withdraw "projects/$project" "$home/roles/$role_reader" "$(member $each)"
done

# role_gone OWNER PART: delete a custom role, unless it is deleted already.
role_gone() {
  local id
  id=$(named role "$2")
  if found '' gcloud iam roles describe "$id" "$1" --format='value(deleted)' && [[ $answer != True ]]; then
    gone gcloud iam roles delete "$id" "$1" --quiet
  fi
}
[[ $kind != folders ]] || role_gone "$owner" ancestry
role_gone "--project=$project" ledger
role_gone "$owner" writer
role_gone "$owner" reader

echo "# Who acts"
for each in "${accounts[@]}"; do gone gcloud iam service-accounts delete "$(email "$each")" "${here_[@]}"; done

[[ $opt_in != tag ]] || left+=("the tag $organization/$name, and where it is bound: gcloud resource-manager tags keys delete $organization/$name, after its values")
left+=(
  "every grant on a repository: deploys depend on it; where it has to go, revoke it first (remediate list --state granted)"
  "the APIs, and the roles of Google's own agents in $project: other services of the project may need them"
)
printf '\n# What stays:\n'
printf '#   %s\n' "${left[@]}"
if [[ -n $dry ]]; then
  printf '# Nothing was run. Leave out --dry-run to remove.\n'
else
  printf '# Done. Within seven days, the install undeletes the log buckets and the custom roles.\n'
fi
