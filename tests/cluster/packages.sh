#!/usr/bin/env bash
# What `make test-cluster` needs of the system: `install` notes which packages it adds, `remove` purges those
# and no others. An srun that stays on the PATH makes Lightning warn in every run of the machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
added=.cluster/packages-added
wanted="slurmctld slurmd slurm-client munge postgresql iproute2"

installed() { dpkg-query --show --showformat='${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii  *//p' | sort; }

case ${1:-} in
install)
    missing=
    for package in $wanted; do
        dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=" $package"
    done
    [ -z "$missing" ] && exit 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "these packages are missing, and only root can install them:$missing" >&2
        exit 1
    fi
    mkdir -p .cluster
    installed >.cluster/packages-before
    # services of its own would hold the ports: everything is started by the tests
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  # words on purpose
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    installed | comm -13 .cluster/packages-before - >>$added
    ;;
remove)
    [ -s $added ] || exit 0
    xargs env DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq <$added >/dev/null
    rm -f $added .cluster/packages-before
    ;;
*)
    echo "usage: packages.sh install | remove" >&2
    exit 2
    ;;
esac
