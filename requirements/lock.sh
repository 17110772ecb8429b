#!/bin/sh
# Renews the locked dependencies: hashes for every file, and no registry's address in them.
# Needs uv (https://docs.astral.sh/uv/); run from the project's folder after editing the .in files.
set -eu
for set in run dev; do
  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command requirements/lock.sh --quiet "$@" "requirements/$set.in" -o "requirements/$set.txt"
done
