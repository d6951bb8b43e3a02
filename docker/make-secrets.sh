#!/bin/sh
# Writes docker/.env from docker/.env.example, with a random value for every setting that ends in PASSWORD or KEY.
set -eu
cd "$(dirname "$0")"
target="${1:-.env}"
if [ -e "$target" ]; then
    echo "$target exists and is left alone; remove it for new secrets, which a running database does not know" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case "$line" in
        *PASSWORD= | *KEY=) printf '%s%s\n' "$line" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < .env.example > "$target.part"
mv "$target.part" "$target"
case "$target" in /*) ;; *) target="docker/$target" ;; esac
echo "Wrote $target, readable for you alone. The account admin has the password in its line ADMIN_PASSWORD."
