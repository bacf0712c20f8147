#!/usr/bin/env bash
# Build a container image of the functions on this machine: `make image`, `make image IMAGE=NAME:TAG`.
#
# pack builds it by the buildpack that deploys use, with the options of build.yaml. Where pack is not installed, docker,
# podman or buildah builds Dockerfile. A builder counts if it works: a client without a running daemon builds nothing.
set -euo pipefail

image=${1:-remediate}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

works() {
  command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1
}

# pack hands its work to a daemon: Docker's, or the one that DOCKER_HOST names.
if command -v pack >/dev/null && { [[ -n ${DOCKER_HOST:-} ]] || works docker; }; then
  builder=pack
else
  for builder in docker podman buildah none; do
    if works "$builder"; then break; fi
  done
fi
if [[ $builder == none ]]; then
  echo "make image: nothing here can build an image; start Docker, or install podman or buildah." >&2
  exit 1
fi

# What the service needs and nothing else, as in gcloudignore.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tar -C "$here/.." --exclude=__pycache__ -cf - main.py requirements.txt remediate | tar -C "$stage" -xf -
chmod -R a+rX "$stage" # the image runs as nobody in particular

echo "Building $image with $builder ..." >&2
case $builder in
  pack)
    options=()
    while read -r option; do options+=("$option"); done < <(sed -n 's/^ *- \(--\(builder\|env\)=.*\)/\1/p' "$here/build.yaml")
    pack build "$image" "${options[@]}" --path "$stage"
    ;;
  *) "$builder" build --tag "$image" --file "$here/Dockerfile" "$stage" ;;
esac
