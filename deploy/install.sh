#!/usr/bin/env bash
# Install remediate with gcloud alone: the same resources and grants as the Terraform module, without alerts and dashboard.
# Each step looks whether it is done already, so that it can be run again: after a failure, for another mode, to upgrade.
set -euo pipefail

usage() {
  cat <<'END'
Usage: deploy/install.sh --project=ID --region=REGION --scope=SCOPE --reviewers=WHO [--mode=MODE] [--name=NAME]
                         [--delivery=WORD] [--registries=PLACES] [--opt-in=WORD] [--operators=WHO] [--domains=DOMAINS] [--workforce-pools=POOLS]
                         [--build-region=REGION] [--build-revision=WORD] [--dry-run]
       deploy/install.sh ARGUMENTS_OF_THE_INSTALL --remove [--with-ledger] [--dry-run]

  --project    the project that the service runs in, better one of its own
  --region     where everything runs and is kept, such as europe-west1
  --scope      what is watched: organizations/N, folders/N,folders/M or projects/ID (which has to be --project)
  --reviewers  who decides: addresses, domains or group:ADDRESS, separated by commas
  --delivery   how entries reach the receiver: eventarc (default), by its triggers; push, by a subscription without Eventarc
  --registries  with watched folders: where images outside of them are, as projects/ID,folders/N
  --opt-in     tag (default, but for a single project): the service may change only repositories in projects that have the
               tag; none: any repository in scope
  --mode       dry-run (default): the receiver may change no policy; enforce: it may what the rules grant
  --name       what every resource's name begins with (remediate)
  --operators  who may loosen the mode without a second person: addresses, separated by commas
  --domains    your organization's own domains, separated by commas; without it rules ask about all people
  --workforce-pools  the ids of its own workforce pools, separated by commas; likewise
  --build-region  where the image is built: global (default), or a region; new projects may build in some regions only
  --build-revision  change it to build the same version anew with today's base image: a date, such as 2026-12-01
  --remove     delete what this script created, in the reverse order; it can be run again after a failure
  --with-ledger  with --remove: delete the ledger too, with the records of who approved what
  --dry-run    print every command, run none
END
}

fail() {
  printf 'install.sh: %s\n' "$1" >&2
  exit 2
}

project='' region='' scope='' reviewers='' mode=dry-run name=remediate delivery=eventarc elsewhere='' opt_in='' operators='' domains='' pools='' build=global revision='' remove='' with_ledger='' dry=''
for argument in "$@"; do
  value=${argument#*=}
  case $argument in
    --project=*) project=$value ;;
    --region=*) region=$value ;;
    --scope=*) scope=$value ;;
    --reviewers=*) reviewers=$value ;;
    --delivery=*) delivery=$value ;;
    --registries=*) elsewhere=$value ;;
    --opt-in=*) opt_in=$value ;;
    --mode=*) mode=$value ;;
    --name=*) name=$value ;;
    --operators=*) operators=$value ;;
    --domains=*) domains=$value ;;
    --workforce-pools=*) pools=$value ;;
    --build-region=*) build=$value ;;
    --build-revision=*) revision=$value ;;
    --remove) remove=yes ;;
    --with-ledger) with_ledger=yes ;;
    --dry-run) dry=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown argument: $argument" ;;
  esac
done
[[ $project =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] || fail "--project=$project: expected a project's id, such as remediate-ops"
[[ $region =~ ^[a-z]+-[a-z]+[0-9]+$ ]] || fail "--region=$region: expected a region, such as europe-west1"
[[ $build =~ ^(global|[a-z]+-[a-z]+[0-9]+)$ ]] || fail "--build-region=$build: expected global, or a region, such as europe-west1"
[[ $revision =~ ^[a-z0-9-]{0,30}$ ]] ||
  fail "--build-revision=$revision: expected up to 30 lower-case letters, digits and hyphens, such as 2026-12-01"
[[ $scope =~ ^(organizations/[1-9][0-9]*|folders/[1-9][0-9]*(,folders/[1-9][0-9]*)*|projects/[a-z0-9-]+)$ ]] ||
  fail "--scope=$scope: expected organizations/NUMBER, folders/NUMBER,folders/NUMBER or projects/ID"
[[ $scope != projects/* || $scope == "projects/$project" ]] || fail "--scope=$scope: a single project is watched from within, so it has to be --project"
[[ $delivery == eventarc || $delivery == push ]] || fail "--delivery=$delivery: expected eventarc or push"
place='(projects/[a-z][a-z0-9-]+|folders/[1-9][0-9]*)'
[[ -z $elsewhere || $elsewhere =~ ^$place(,$place)*$ ]] || fail "--registries=$elsewhere: expected projects/ID or folders/NUMBER, separated by commas"
[[ -z $elsewhere || $scope == folders/* ]] ||
  fail "--registries=$elsewhere: expected none but for watched folders: an organization contains its registries, and a project's own role reaches no other project"
[[ $opt_in =~ ^(tag|none|)$ ]] || fail "--opt-in=$opt_in: expected tag or none"
[[ $opt_in != tag || $scope != projects/* ]] || fail "--opt-in=tag: expected none for a single project: tags belong to an organization"
domain='[a-z0-9-]+(\.[a-z0-9-]+)+' address='[^@:/[:space:],]+@'
one="(group:$address$domain|($address)?$domain)"
[[ $reviewers =~ ^$one(,$one)*$ ]] ||
  fail "--reviewers=$reviewers: expected addresses, domains or group:ADDRESS, separated by commas"
for each in ${reviewers//,/ }; do
  [[ $each == *@* ]] || printf 'install.sh: warning: --reviewers: %s lets everybody of that domain decide about every repository; name a group or addresses\n' "$each" >&2
done
[[ $mode == dry-run || $mode == enforce ]] || fail "--mode=$mode: expected dry-run or enforce"
[[ $name =~ ^[a-z][a-z0-9-]{2,18}[a-z0-9]$ && $name != goog* ]] ||
  fail "--name=$name: expected 4 to 20 lower-case letters, digits and hyphens, not beginning with goog"
[[ -z $operators || $operators =~ ^$address$domain(,$address$domain)*$ ]] ||
  fail "--operators=$operators: expected addresses, separated by commas"
[[ -z $domains || $domains =~ ^$domain(,$domain)*$ ]] || fail "--domains=$domains: expected domains, separated by commas"
pool='[a-z][a-z0-9-]{2,62}'
[[ -z $pools || $pools =~ ^$pool(,$pool)*$ ]] || fail "--workforce-pools=$pools: expected ids of pools, separated by commas"
[[ -z $with_ledger || -n $remove ]] || fail "--with-ledger: belongs to --remove"
for tool in ${dry:-gcloud curl sha256sum}; do
  [[ $tool == yes ]] || command -v "$tool" >/dev/null || fail "$tool is not installed, and this script needs it"
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
kind=${scope%%/*}
IFS=, read -ra scopes <<<"$scope"
IFS=, read -ra registries <<<"$elsewhere"
places=("${scopes[@]}" ${registries[@]+"${registries[@]}"})
if [[ -z $opt_in && $kind != projects ]]; then opt_in=tag; fi
IFS=, read -ra who_reviews <<<"$reviewers"
python=$(command -v python3 || gcloud info --format='value(basic.python_location)')

# run COMMAND...: print it, and unless nothing is to be done, do it.
run() {
  printf '%q ' "$@" && printf '\n'
  [[ -n $dry ]] || "$@"
}

# patiently COMMAND...: print it, and run it; where it fails, try it again, as rights that were just granted take a while.
patiently() {
  printf '%q ' "$@" && printf '\n'
  [[ -n $dry ]] || "$here/patiently.sh" "$@"
}

# unless LOOK -- [patiently] MAKE: make what is not there yet.
unless() {
  local look=()
  while [[ $1 != -- ]]; do look+=("$1") && shift; done
  shift
  if [[ -z $dry ]] && "${look[@]}" >/dev/null 2>&1; then return; fi
  if [[ $1 == patiently ]]; then "$@"; else run "$@"; fi
}

# ask PLACEHOLDER COMMAND...: what Google Cloud says; the placeholder where nothing is asked.
ask() {
  local placeholder=$1 && shift
  if [[ -n $dry ]]; then printf '%s' "$placeholder"; else "$@"; fi
}

camel=$("$python" -c 'import sys; first, *rest = sys.argv[1].split("-"); print(first + "".join(map(str.title, rest)))' "$name")

# shellcheck disable=SC2034 # the names of accounts and topics are looked up by what they are for
{
# Written by `make installation`, from installation.yaml: do not change it here.
apis=(
  artifactregistry.googleapis.com
  cloudbuild.googleapis.com
  cloudresourcemanager.googleapis.com
  cloudscheduler.googleapis.com
  firestore.googleapis.com
  iam.googleapis.com
  iap.googleapis.com
  logging.googleapis.com
  monitoring.googleapis.com
  pubsub.googleapis.com
  run.googleapis.com
  secretmanager.googleapis.com
  storage.googleapis.com
)
eventarc_apis=(
  eventarc.googleapis.com
)
accounts=(receiver review sweep writer trigger builder)
account_receiver=${name}-receiver
account_review=${name}-review
account_sweep=${name}-sweep
account_writer=${name}-writer
account_trigger=${name}-trigger
account_builder=${name}-builder
role_reader=${camel}Reader
title_reader=evidence
role_writer=${camel}Writer
title_writer=writer
role_ledger=${camel}Ledger
title_ledger=ledger
role_ancestry=${camel}Ancestry
title_ancestry=ancestry
topic_dead_letters=${name}-dead-letters
topic_notices=${name}-notices
topic_approvals=${name}-approvals
topic_denials=${name}-denials
subscription_dead_letters=${name}-dead-letters
subscription_approvals=${name}-approvals
subscription_denials=${name}-denials
trigger_denials=${name}-denials
sink_denials=${name}-denials
sink_view=${name}-view
sink_trail=${name}-trail
sink_writes=${name}-writes
log_bucket_trail=${name}-trail
log_bucket_denials=${name}-denials
log_view_denials=${name}-denials
service_receiver=${name}-receiver
service_review=${name}-review
service_writer=${name}-writer
job_sweep=${name}-sweep
job_due=${name}-due
schedule_sweep=${name}-sweep
schedule_due=${name}-due
database_ledger=${name}
secret_review=${name}-review
bucket_source=${project}-${name}
repository_images=${name}
permissions_reader=(
  artifactregistry.projectsettings.get
  artifactregistry.repositories.get
  artifactregistry.repositories.getIamPolicy
  iam.roles.get
  logging.logEntries.list
  resourcemanager.projects.get
  resourcemanager.projects.getIamPolicy
)
if [[ $kind != projects ]]; then
permissions_reader+=(
  resourcemanager.folders.get
  resourcemanager.folders.getIamPolicy
  resourcemanager.hierarchyNodes.listEffectiveTags
  resourcemanager.organizations.getIamPolicy
)
fi
permissions_writer=(
  artifactregistry.repositories.getIamPolicy
  artifactregistry.repositories.setIamPolicy
)
permissions_ledger=(
  datastore.databases.get
  datastore.entities.create
  datastore.entities.get
  datastore.entities.list
  datastore.entities.update
)
permissions_ancestry=(
  iam.roles.get
)
if [[ $kind != projects ]]; then
permissions_ancestry+=(
  resourcemanager.folders.get
  resourcemanager.folders.getIamPolicy
  resourcemanager.organizations.getIamPolicy
)
fi
methods=(
  google.cloud.run.v1.Jobs.CreateJob
  google.cloud.run.v1.Jobs.ReplaceJob
  google.cloud.run.v1.Services.CreateService
  google.cloud.run.v1.Services.ReplaceService
  google.cloud.run.v2.Jobs.CreateJob
  google.cloud.run.v2.Jobs.UpdateJob
  google.cloud.run.v2.Services.CreateService
  google.cloud.run.v2.Services.UpdateService
)
indexes=(
  'remediations state:ascending last_seen:descending'
  'remediations member:ascending last_seen:descending'
  'remediations repository:ascending last_seen:descending'
  'remediations member:ascending repository:ascending last_seen:descending'
  'remediations state:ascending member:ascending last_seen:descending'
  'remediations state:ascending repository:ascending last_seen:descending'
  'remediations state:ascending member:ascending repository:ascending last_seen:descending'
  'remediations state:ascending updated:ascending'
  'remediations state:ascending member:ascending updated:ascending'
  'remediations state:ascending repository:ascending updated:ascending'
  'remediations state:ascending member:ascending repository:ascending updated:ascending'
  'remediations state:ascending gathered:ascending updated:ascending'
  'remediations state:ascending gathered:ascending last_seen:descending'
  'remediations gathered:ascending last_seen:descending'
  'remediations state:ascending gathered:descending'
  'parcels channel:ascending due:ascending'
)
overrides=(
  'trail/fields/at {"indexConfig": {"indexes": [{"queryScope": "COLLECTION", "fields": [{"fieldPath": "at", "order": "ASCENDING"}]}, {"queryScope": "COLLECTION", "fields": [{"fieldPath": "at", "order": "DESCENDING"}]}, {"queryScope": "COLLECTION_GROUP", "fields": [{"fieldPath": "at", "order": "ASCENDING"}]}, {"queryScope": "COLLECTION_GROUP", "fields": [{"fieldPath": "at", "order": "DESCENDING"}]}]}}'
  'remediations/fields/record {"indexConfig": {"indexes": []}}'
  'trail/fields/record {"indexConfig": {"indexes": []}}'
  'parcels/fields/record {"indexConfig": {"indexes": []}}'
)
# Written until here.
}

# named KIND PART: the name of a resource, from the section above.
named() {
  local key=$1_$2
  printf '%s' "${!key}"
}

# joined SIGN WORD...: the words, separated by the sign.
joined() {
  local IFS=$1 && shift
  printf '%s' "$*"
}

email() { printf '%s@%s.iam.gserviceaccount.com' "$(named account "$1")" "$project"; }
member() { printf 'serviceAccount:%s' "$(email "$1")"; }
here_=(--project="$project" --quiet)

# policy PLACE: the words that change the allow policy of organizations/N, folders/N or projects/ID, but for the verb.
policy() {
  case $1 in
    organizations/*) words=(gcloud organizations) ;;
    folders/*) words=(gcloud resource-manager folders) ;;
    projects/*) words=(gcloud projects) ;;
  esac
}

# grant PLACE ROLE MEMBER [CONDITION]
grant() {
  local words
  policy "$1"
  run "${words[@]}" add-iam-policy-binding "${1#*/}" --quiet --role="$2" --member="$3" --condition="${4:-None}"
}

# unless_said PATTERN COMMAND...: run it; where it fails in these words, all is well.
unless_said() {
  local pattern=$1 said && shift
  if said=$(run "$@" 2>&1); then
    printf '%s\n' "$said"
  else
    printf '%s\n' "$said" >&2
    [[ $said =~ $pattern ]]
  fi
}

# withdraw PLACE ROLE MEMBER [CONDITION]: where it was not granted, all is well. Without a condition, under any.
withdraw() {
  local words
  policy "$1"
  unless_said 'not found' "${words[@]}" remove-iam-policy-binding "${1#*/}" --quiet --role="$2" --member="$3" "${4:+--condition=}${4:---all}"
}

organization=''
case $kind in
  organizations) organization=${scope#*/} ;;
  folders)
    above=${scopes[0]}
    while [[ $above == folders/* ]]; do
      above=$(ask organizations/ORGANIZATION_NUMBER gcloud resource-manager folders describe "${above#*/}" --format='value(parent)')
    done
    organization=${above#*/}
    ;;
esac
if [[ $kind == projects ]]; then owner=--project=$project home=projects/$project; else owner=--organization=$organization home=organizations/$organization; fi
eventarc_triggers=("$trigger_denials")
if [[ $kind == projects ]]; then
  eventarc_triggers=()
  for method in "${methods[@]}"; do eventarc_triggers+=("$name-$(tr 'A-Z.' 'a-z-' <<<"${method#google.cloud.run.}")"); done
fi
has_topic=yes agents=(eventarc iap pubsub) triggers=("${eventarc_triggers[@]}")
if [[ $delivery == push ]]; then agents=(iap pubsub) triggers=(); elif [[ $kind == projects ]]; then has_topic=''; fi
lets_in=()
IFS=, read -ra who_operates <<<"$operators"
for each in "${who_reviews[@]}" ${who_operates[@]+"${who_operates[@]}"}; do
  case $each in
    group:*) lets_in+=("$each") ;;
    *.gserviceaccount.com) lets_in+=("serviceAccount:$each") ;;
    *@*) lets_in+=("user:$each") ;;
    *) lets_in+=("domain:$each") ;;
  esac
done
in_the_trail="^;^title=the trail alone;expression=resource.name.endsWith(\"locations/$region/buckets/$log_bucket_trail\")"
in_the_denials="^;^title=the denials alone;expression=resource.name.endsWith(\"locations/$region/buckets/$log_bucket_denials\")"
kept=projects/$project/locations/$region/buckets/$log_bucket_denials # where entries are read back from

if [[ -n $remove ]]; then
  # shellcheck source=deploy/remove.sh
  . "$here/remove.sh"
  exit
fi

echo "# APIs, and Google's own identities"
[[ $delivery == push ]] || apis+=("${eventarc_apis[@]}")
run gcloud services enable "${here_[@]}" "${apis[@]}"
for each in "${agents[@]}"; do run gcloud beta services identity create "${here_[@]}" --service="$each.googleapis.com"; done
number=$(ask PROJECT_NUMBER gcloud projects describe "$project" --format='value(projectNumber)')

echo "# Who acts"
for each in "${accounts[@]}"; do
  unless gcloud iam service-accounts describe "$(email "$each")" "${here_[@]}" -- \
    gcloud iam service-accounts create "$(named account "$each")" "${here_[@]}" --display-name="$name: $each"
done

# role OWNER PART PERMISSION...: make a custom role, or bring it up to date. A deleted one can be had back for seven days.
role() {
  local owner=$1 id title permissions deleted
  id=$(named role "$2") title=$(named title "$2") permissions=$(joined , "${@:3}")
  if [[ -z $dry ]] && deleted=$(gcloud iam roles describe "$id" "$owner" --format='value(deleted)' 2>/dev/null); then
    [[ $deleted != True ]] || run gcloud iam roles undelete "$id" "$owner" --quiet
    run gcloud iam roles update "$id" "$owner" --quiet --permissions="$permissions"
  else
    run gcloud iam roles create "$id" "$owner" --quiet --permissions="$permissions" --title="$name: $title" --stage=GA
  fi
}
role "$owner" reader "${permissions_reader[@]}"
role "$owner" writer "${permissions_writer[@]}"
role "--project=$project" ledger "${permissions_ledger[@]}"
[[ $kind != folders ]] || role "$owner" ancestry "${permissions_ancestry[@]}"

opted_in='' condition=''
if [[ $opt_in == tag ]]; then
  tag=$organization/$name
  unless gcloud resource-manager tags keys describe "$tag" -- gcloud resource-manager tags keys create "$name" --parent="organizations/$organization" \
    --description="Whether $name may change the policies of a project's repositories"
  unless gcloud resource-manager tags values describe "$tag/yes" -- gcloud resource-manager tags values create yes --parent="$tag" \
    --description="The owners of this project's registry agreed"
  unless gcloud resource-manager tags values describe "$tag/deployers" -- gcloud resource-manager tags values create deployers --parent="$tag" \
    --description="The owners of this project's registry agreed, for members that never deployed from it too"
  key=$(ask TAG_KEY gcloud resource-manager tags keys describe "$tag" --format='value(name)')
  for each in yes deployers; do
    value=$(ask "TAG_VALUE_$each" gcloud resource-manager tags values describe "$tag/$each" --format='value(name)')
    opted_in+=${opted_in:+,}$value condition+="${condition:+ || }resource.matchTagId('$key', '$value')"
  done
  condition="^;^title=registries that opted in;expression=$condition"
fi

readers=(receiver review sweep writer)
writers=(sweep writer)
[[ $mode != enforce ]] || writers+=(receiver)
# The service's own project need not lie in watched folders; the doctor's synthetic denial names a repository there.
seen=("${places[@]}")
[[ $kind != folders ]] || seen+=("projects/$project")
for place in "${seen[@]}"; do
  for each in "${readers[@]}"; do grant "$place" "$home/roles/$role_reader" "$(member "$each")"; done
done
for place in "${places[@]}"; do
  for each in "${writers[@]}"; do
    [[ $opt_in != tag ]] || withdraw "$place" "$home/roles/$role_writer" "$(member "$each")" None # from before the tag
    grant "$place" "$home/roles/$role_writer" "$(member "$each")" "$condition"
  done
  [[ $mode == enforce ]] || withdraw "$place" "$home/roles/$role_writer" "$(member receiver)" # back from enforce
  withdraw "$place" "$home/roles/$role_writer" "$(member review)" # from a version whose pages changed policies
done
if [[ $kind == folders ]]; then
  for each in "${readers[@]}"; do grant "organizations/$organization" "$home/roles/$role_ancestry" "$(member "$each")"; done
fi
only="resource.type == \"firestore.googleapis.com/Database\" && resource.name == \"projects/$project/databases/$database_ledger\""
for each in "${readers[@]}"; do
  grant "projects/$project" "projects/$project/roles/$role_ledger" "$(member "$each")" "^;^title=the ledger alone;expression=$only"
done
grant "projects/$project" roles/logging.logWriter "$(member builder)"
for each in "${agents[@]}"; do # asked for, they hold nothing yet; that of Identity-Aware Proxy needs nothing here
  [[ $each != iap ]] || continue
  grant "projects/$project" "roles/$each.serviceAgent" "serviceAccount:service-$number@gcp-sa-$each.iam.gserviceaccount.com"
done
[[ -n $has_topic ]] || grant "projects/$project" roles/eventarc.eventReceiver "$(member trigger)"

echo "# The ledger"
unless gcloud firestore databases describe --database="$database_ledger" "${here_[@]}" -- \
  gcloud firestore databases create --database="$database_ledger" "${here_[@]}" --location="$region" --type=firestore-native --delete-protection --enable-pitr
for each in "${indexes[@]}"; do
  read -ra fields <<<"$each"
  words=(--collection-group="${fields[0]}" --query-scope=collection)
  for field in "${fields[@]:1}"; do words+=(--field-config="field-path=${field%:*},order=${field#*:}"); done
  unless_said 'ALREADY_EXISTS|already exists' gcloud firestore indexes composite create "${words[@]}" --database="$database_ledger" "${here_[@]}" --async
done
# gcloud has no word for a single field's index over a collection group, so these are asked for by REST.
for each in "${overrides[@]}"; do
  field=${each%% *} body=${each#* }
  url="https://firestore.googleapis.com/v1/projects/$project/databases/$database_ledger/collectionGroups/$field?updateMask=indexConfig"
  printf 'curl --request PATCH --data %q %q  # with an access token\n' "$body" "$url"
  [[ -n $dry ]] || printf 'Authorization: Bearer %s' "$(gcloud auth print-access-token)" |
    curl --silent --show-error --fail --max-time 60 --header @- --header 'Content-Type: application/json' --request PATCH --data "$body" "$url" >/dev/null
done

echo "# Topics, and what could not be delivered"
topics=(dead_letters notices approvals)
[[ -z $has_topic ]] || topics+=(denials)
for each in "${topics[@]}"; do
  keep=()
  [[ $each != denials ]] || keep=(--message-retention-duration=7d)
  unless gcloud pubsub topics describe "$(named topic "$each")" "${here_[@]}" -- \
    gcloud pubsub topics create "$(named topic "$each")" "${here_[@]}" --message-storage-policy-allowed-regions="$region" ${keep[@]+"${keep[@]}"}
done
unless gcloud pubsub subscriptions describe "$subscription_dead_letters" "${here_[@]}" -- \
  gcloud pubsub subscriptions create "$subscription_dead_letters" "${here_[@]}" --topic="$topic_dead_letters" --message-retention-duration=7d --ack-deadline=60 --expiration-period=never
agent=serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
run gcloud pubsub topics add-iam-policy-binding "$topic_dead_letters" "${here_[@]}" --role=roles/pubsub.publisher --member="$agent"
for each in "${readers[@]}"; do
  run gcloud pubsub topics add-iam-policy-binding "$topic_notices" "${here_[@]}" --role=roles/pubsub.publisher --member="$(member "$each")"
done

echo "# The pages' secret"
unless gcloud secrets describe "$secret_review" "${here_[@]}" -- \
  gcloud secrets create "$secret_review" "${here_[@]}" --replication-policy=user-managed --locations="$region"
if [[ -z $dry && -z $(gcloud secrets versions list "$secret_review" "${here_[@]}" --filter='state=ENABLED' --format='value(name)') ]]; then
  "$python" -c 'import secrets, sys; sys.stdout.write(secrets.token_urlsafe(48))' | gcloud secrets versions add "$secret_review" "${here_[@]}" --data-file=-
fi
run gcloud secrets add-iam-policy-binding "$secret_review" "${here_[@]}" --role=roles/secretmanager.secretAccessor --member="$(member review)"

echo "# The image"
bucket=gs://$bucket_source
unless gcloud storage buckets describe "$bucket" "${here_[@]}" -- \
  gcloud storage buckets create "$bucket" "${here_[@]}" --location="$region" --uniform-bucket-level-access --public-access-prevention
run gcloud storage buckets add-iam-policy-binding "$bucket" "${here_[@]}" --role=roles/storage.objectViewer --member="$(member builder)"
unless gcloud artifacts repositories describe "$repository_images" "${here_[@]}" --location="$region" -- \
  gcloud artifacts repositories create "$repository_images" "${here_[@]}" --location="$region" --repository-format=docker
run gcloud artifacts repositories set-cleanup-policies "$repository_images" "${here_[@]}" --location="$region" --policy="$here/clean-up.json"
run gcloud artifacts repositories add-iam-policy-binding "$repository_images" "${here_[@]}" --location="$region" --role=roles/artifactregistry.writer --member="$(member builder)"
where_built=() && [[ $build == global ]] || where_built=(--region="$build")
version=$(cd "$root" && find main.py requirements.txt remediate -type f -not -path '*/__pycache__/*' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-12)
image=$region-docker.pkg.dev/$project/$repository_images/$name:$version${revision:+-$revision}
unless gcloud artifacts docker images describe "$image" "${here_[@]}" -- \
  patiently gcloud builds submit "$root" "${here_[@]}" ${where_built[@]+"${where_built[@]}"} --config="$here/build.yaml" --ignore-file="$here/gcloudignore" \
  --substitutions="_IMAGE=$image" --service-account="projects/$project/serviceAccounts/$(email builder)" --gcs-source-staging-dir="$bucket/source"
image=$(ask "${image%:*}@DIGEST_OF_${image##*:}" gcloud artifacts docker images describe "$image" "${here_[@]}" --format='value(image_summary.fully_qualified_digest)')

# log_bucket NAME DAYS: make a log bucket. A deleted one stays for seven days, takes no entry and cannot be made anew.
log_bucket() {
  if [[ -z $dry ]] && [[ $(gcloud logging buckets describe "$1" "${here_[@]}" --location="$region" --format='value(lifecycleState)' 2>/dev/null) == DELETE_REQUESTED ]]; then
    run gcloud logging buckets undelete "$1" "${here_[@]}" --location="$region"
  fi
  unless gcloud logging buckets describe "$1" "${here_[@]}" --location="$region" -- \
    gcloud logging buckets create "$1" "${here_[@]}" --location="$region" --retention-days="$2"
}

if [[ $kind != projects ]]; then
  echo "# Where entries are read back from"
  log_bucket "$log_bucket_denials" 7
  viewed=("$log_view_denials" "${here_[@]}" --bucket="$log_bucket_denials" --location="$region")
  unless gcloud logging views describe "${viewed[@]}" -- gcloud logging views create "${viewed[@]}"
  for each in "${readers[@]}"; do
    run gcloud logging views add-iam-policy-binding "${viewed[@]}" --role=roles/logging.viewAccessor --member="$(member "$each")"
  done
fi

echo "# What runs"
allowed='' identities=''
for each in "${who_reviews[@]}"; do
  key=$each
  [[ $each != group:* ]] || key=${each#*@}
  [[ ",$allowed," == *",$key,"* ]] || allowed+=${allowed:+,}$key
done
for each in $(printf '%s\n' "${accounts[@]}" | LC_ALL=C sort); do identities+=${identities:+,}$(email "$each"); done
page=https://$service_review-$number.$region.run.app
environment="REMEDIATE_MODE=$mode@@REMEDIATE_LEDGER=firestore://$project/$database_ledger@@REMEDIATE_REVIEWERS=$allowed@@REMEDIATE_IDENTITIES=$identities"
[[ -z $organization ]] || environment+="@@REMEDIATE_ORGANIZATION=$organization@@REMEDIATE_LOG_VIEW=$kept/views/$log_view_denials"
[[ -z $opted_in ]] || environment+="@@REMEDIATE_OPT_IN_TAG=$opted_in"
[[ -z $operators ]] || environment+="@@REMEDIATE_OPERATORS=$operators"
[[ -z $domains ]] || environment+="@@REMEDIATE_DOMAINS=$domains"
[[ -z $pools ]] || environment+="@@REMEDIATE_WORKFORCE_POOLS=$pools"
environment+="@@REMEDIATE_GRANT_DAYS=90@@REMEDIATE_TROUBLESHOOTER=off@@REMEDIATE_GRANTS_AN_HOUR=60@@REMEDIATE_GRANTS_TO_A_MEMBER=10@@REMEDIATE_PROPOSALS_AN_HOUR=30"
environment+="@@REMEDIATE_NOTIFY_TOPIC=projects/$project/topics/$topic_notices@@REMEDIATE_REVIEW_URL=$page@@GOOGLE_CLOUD_PROJECT=$project"
audience=/projects/$number/locations/$region/services/$service_review
sized=(--region="$region" --image="$image" --cpu=1 --memory=512Mi)
served=(--concurrency=8 --timeout=120 --cpu-throttling --cpu-boost --no-allow-unauthenticated)
run gcloud run deploy "$service_receiver" "${here_[@]}" "${sized[@]}" "${served[@]}" --service-account="$(email receiver)" --ingress=internal \
  --min-instances=0 --max-instances=4 --set-env-vars="^@@^$environment@@THREADS=8@@REMEDIATE_LOOKUPS_A_MINUTE=12"
run gcloud beta run deploy "$service_review" "${here_[@]}" "${sized[@]}" "${served[@]}" --service-account="$(email review)" --ingress=all --iap \
  --min-instances=0 --max-instances=2 --command=/cnb/lifecycle/launcher --args=--,functions-framework,--target,review \
  --set-secrets="REMEDIATE_SECRET=$secret_review:latest" --set-env-vars="^@@^$environment@@THREADS=8@@REMEDIATE_IAP_AUDIENCE=$audience@@REMEDIATE_WRITER_TOPIC=projects/$project/topics/$topic_approvals"
run gcloud run deploy "$service_writer" "${here_[@]}" "${sized[@]}" "${served[@]}" --service-account="$(email writer)" --ingress=internal \
  --min-instances=0 --max-instances=2 --command=/cnb/lifecycle/launcher --args=--,functions-framework,--target,carry_out --set-env-vars="^@@^$environment@@THREADS=8"
reads=''
for each in "${scopes[@]}"; do reads+=,--scope=$each; done
swept=(--service-account="$(email sweep)" --command=/cnb/lifecycle/launcher --set-env-vars="^@@^$environment")
run gcloud run jobs deploy "$job_sweep" "${here_[@]}" "${sized[@]}" "${swept[@]}" --task-timeout=1800 --max-retries=3 --args="--,python3,-m,remediate,sweep,--since,1d$reads"
run gcloud run jobs deploy "$job_due" "${here_[@]}" "${sized[@]}" "${swept[@]}" --task-timeout=600 --max-retries=0 --args=--,python3,-m,remediate,sweep,--due

# Who may start what, and nobody else.
invoke=(--region="$region" --role=roles/run.invoker)
run gcloud run services add-iam-policy-binding "$service_receiver" "${here_[@]}" "${invoke[@]}" --member="$(member trigger)"
run gcloud run services add-iam-policy-binding "$service_writer" "${here_[@]}" "${invoke[@]}" --member="$(member trigger)"
run gcloud run services add-iam-policy-binding "$service_review" "${here_[@]}" "${invoke[@]}" --member="serviceAccount:service-$number@gcp-sa-iap.iam.gserviceaccount.com"
run gcloud pubsub topics add-iam-policy-binding "$topic_approvals" "${here_[@]}" --role=roles/pubsub.publisher --member="$(member review)"
writer=https://$service_writer-$number.$region.run.app
unless gcloud pubsub subscriptions describe "$subscription_approvals" "${here_[@]}" -- \
  gcloud pubsub subscriptions create "$subscription_approvals" "${here_[@]}" --topic="$topic_approvals" --push-endpoint="$writer" \
  --push-auth-service-account="$(email trigger)" --push-auth-token-audience="$writer" --ack-deadline=120 --message-retention-duration=10m \
  --min-retry-delay=5s --max-retry-delay=60s --expiration-period=never
for each in "$job_sweep" "$job_due"; do run gcloud run jobs add-iam-policy-binding "$each" "${here_[@]}" "${invoke[@]}" --member="$(member trigger)"; done
for each in "${lets_in[@]}"; do
  run gcloud beta iap web add-iam-policy-binding "${here_[@]}" --resource-type=cloud-run --service="$service_review" --region="$region" \
    --role=roles/iap.httpsResourceAccessor --member="$each" --condition=None
done
# schedule NAME JOB TIMES: start the job at these times.
schedule() {
  unless gcloud scheduler jobs describe "$1" "${here_[@]}" --location="$region" -- \
    gcloud scheduler jobs create http "$1" "${here_[@]}" --location="$region" --schedule="$3" --time-zone=Etc/UTC --http-method=POST \
    --uri="https://run.googleapis.com/v2/projects/$project/locations/$region/jobs/$2:run" --oauth-service-account-email="$(email trigger)"
}
schedule "$schedule_sweep" "$job_sweep" '7 * * * *'
schedule "$schedule_due" "$job_due" '*/5 * * * *'

echo "# The trail"

# sink PLACE NAME DESTINATION FILTER: make a sink there; its identity is in $identity.
sink() {
  local at=(--"${1%s/*}=${1#*/}")
  local below=(--include-children)
  [[ $1 != projects/* ]] || below=()
  if [[ -z $dry ]] && gcloud logging sinks describe "$2" "${at[@]}" >/dev/null 2>&1; then
    run gcloud logging sinks update "$2" "$3" --quiet "${at[@]}" --log-filter="$4"
  else
    run gcloud logging sinks create "$2" "$3" --quiet "${at[@]}" ${below[@]+"${below[@]}"} --log-filter="$4"
  fi
  identity=$(ask "SINK_OF_$1" gcloud logging sinks describe "$2" "${at[@]}" --format='value(writerIdentity)')
}
log_bucket "$log_bucket_trail" 400
trail=logging.googleapis.com/projects/$project/locations/$region/buckets/$log_bucket_trail
lines=$(cat "$here/trail.filter")
lines=${lines//\$\{receiver\}/$service_receiver} lines=${lines//\$\{review\}/$service_review} lines=${lines//\$\{writer\}/$service_writer}
lines=${lines//\$\{sweep\}/$job_sweep} lines=${lines//\$\{due\}/$job_due}
sink "projects/$project" "$sink_trail" "$trail" "$lines"
writes='protoPayload.methodName="google.devtools.artifactregistry.v1.ArtifactRegistry.SetIamPolicy"
log_id("cloudaudit.googleapis.com/activity")
protoPayload.authenticationInfo.principalEmail=("'"$(email receiver)"'" OR "'"$(email sweep)"'" OR "'"$(email writer)"'")
NOT severity>=ERROR'
for place in "${places[@]}"; do
  sink "$place" "$sink_writes" "$trail" "$writes"
  [[ $kind == projects ]] || grant "projects/$project" roles/logging.bucketWriter "$identity" "$in_the_trail"
done

echo "# The way of a failed deploy"
if [[ -z $has_topic ]]; then
  for at in "${!methods[@]}"; do
    trigger=${triggers[at]} method=${methods[at]}
    unless gcloud eventarc triggers describe "$trigger" "${here_[@]}" --location="$region" -- \
      gcloud eventarc triggers create "$trigger" "${here_[@]}" --location="$region" --service-account="$(email trigger)" \
      --destination-run-service="$service_receiver" --destination-run-region="$region" \
      --event-filters=type=google.cloud.audit.log.v1.written --event-filters=serviceName=run.googleapis.com \
      --event-filters="methodName=$method"
  done
else
  for place in "${scopes[@]}"; do
    sink "$place" "$sink_denials" "pubsub.googleapis.com/projects/$project/topics/$topic_denials" "$(cat "$here/denials.filter")"
    run gcloud pubsub topics add-iam-policy-binding "$topic_denials" "${here_[@]}" --role=roles/pubsub.publisher --member="$identity"
    [[ $kind != projects ]] || continue
    sink "$place" "$sink_view" "logging.googleapis.com/$kept" "$(cat "$here/denials.filter")"
    grant "projects/$project" roles/logging.bucketWriter "$identity" "$in_the_denials"
  done
fi
if [[ $delivery == push ]]; then
  receives=https://$service_receiver-$number.$region.run.app
  unless gcloud pubsub subscriptions describe "$subscription_denials" "${here_[@]}" -- \
    gcloud pubsub subscriptions create "$subscription_denials" "${here_[@]}" --topic="$topic_denials" --push-endpoint="$receives" \
    --push-auth-service-account="$(email trigger)" --push-auth-token-audience="$receives" --ack-deadline=120 --message-retention-duration=1d \
    --dead-letter-topic="projects/$project/topics/$topic_dead_letters" --max-delivery-attempts=20 \
    --min-retry-delay=10s --max-retry-delay=600s --expiration-period=never
  run gcloud pubsub subscriptions add-iam-policy-binding "$subscription_denials" "${here_[@]}" --role=roles/pubsub.subscriber --member="$agent"
elif [[ $kind != projects ]]; then
  unless gcloud eventarc triggers describe "$trigger_denials" "${here_[@]}" --location="$region" -- \
    gcloud eventarc triggers create "$trigger_denials" "${here_[@]}" --location="$region" --service-account="$(email trigger)" \
    --destination-run-service="$service_receiver" --destination-run-region="$region" \
    --event-filters=type=google.cloud.pubsub.topic.v1.messagePublished --transport-topic="projects/$project/topics/$topic_denials"
fi
for trigger in ${triggers[@]+"${triggers[@]}"}; do
  subscription=$(ask "SUBSCRIPTION_OF_$trigger" gcloud eventarc triggers describe "$trigger" "${here_[@]}" --location="$region" --format='value(transport.pubsub.subscription)')
  run gcloud pubsub subscriptions add-iam-policy-binding "$subscription" "${here_[@]}" --role=roles/pubsub.subscriber --member="$agent"
  run gcloud pubsub subscriptions update "$subscription" "${here_[@]}" --dead-letter-topic="projects/$project/topics/$topic_dead_letters" --max-delivery-attempts=20 \
    --ack-deadline=120 # a push is over with it, whatever the service may take; ten seconds, if unsaid
done

if [[ -z $dry ]]; then # from before a change of --delivery
  if [[ $delivery == push ]]; then
    for each in "${eventarc_triggers[@]}"; do
      ! gcloud eventarc triggers describe "$each" "${here_[@]}" --location="$region" >/dev/null 2>&1 ||
        run gcloud eventarc triggers delete "$each" "${here_[@]}" --location="$region"
    done
  elif gcloud pubsub subscriptions describe "$subscription_denials" "${here_[@]}" >/dev/null 2>&1; then
    run gcloud pubsub subscriptions delete "$subscription_denials" "${here_[@]}"
  fi
fi

if [[ -n $dry ]]; then
  printf '\n# Nothing was run. Leave out --dry-run to install.\n'
else
  printf '\n# Done. Reviewers decide at %s\n' "$page"
  if [[ $opt_in == tag ]]; then
    printf '# Nothing is granted in a registry until its owner opts in (yes, or deployers for newcomers too):\n'
    printf "#   gcloud resource-manager tags bindings create --tag-value=%s/yes --parent=//cloudresourcemanager.googleapis.com/projects/\$(gcloud projects describe REGISTRY_PROJECT --format='value(projectNumber)')\n" "$tag"
  fi
fi
