#!/bin/sh
# docker/build.sh cuda|cpu|tracking: builds integrand:cuda, integrand:cpu or integrand-tracking:latest.
#
# DOCKER_BUILD_ARGS holds further words for `docker build`, for example
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126      wheels for an older driver
#   --build-arg BASE=mirror.example.org/python:3.11-slim-bookworm       the base image from elsewhere
#   --secret id=pipconf,src=pip.conf --secret id=pipca,src=ca.pem       pip's settings and CA, see docs/docker.md
set -eu
cd "$(dirname "$0")/.."
what="${1:-}"
case "$what" in
    cuda | cpu) target=integrand; image="integrand:${INTEGRAND_TAG:-$what}" ;;
    tracking) target=tracking; image="integrand-tracking:${INTEGRAND_TAG:-latest}" ;;
    *) echo "usage: docker/build.sh cuda|cpu|tracking" >&2; exit 2 ;;
esac
version="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' platform/integrand/version.py)"
revision="$(git rev-parse HEAD 2>/dev/null || true)"
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then revision="$revision-dirty"; fi
source="$(git remote get-url origin 2>/dev/null | sed 's#//[^/@]*@#//#' || true)"
set -- --file docker/Dockerfile --target "$target" --tag "$image" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "SOURCE=$source"
if [ "$target" = integrand ]; then
    set -- "$@" --build-arg "FLAVOUR=$what"
fi
# shellcheck disable=SC2086  # DOCKER_BUILD_ARGS is several words
DOCKER_BUILDKIT=1 exec docker build "$@" ${DOCKER_BUILD_ARGS:-} .
