#!/usr/bin/env bash
# Sees to a Chromium for the dashboard's browser tests.
# Promises: one that is there is left alone; installs Debian's where that needs no password; otherwise says the one line that would, and
# the browser tests are skipped (in CI they fail).
set -euo pipefail

for name in "${CHROMIUM:-chromium}" chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
as_root=()
if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! sudo -n true 2>/dev/null; }; then
    echo "== no Chromium: the browser tests are skipped; for Debian: sudo apt-get install -y chromium"
    exit 0
fi
if ((EUID != 0)); then
    as_root=(sudo -n)
fi
mkdir -p "$(dirname "$0")/../build"
log="$(dirname "$0")/../build/browser.log"
echo "== installing chromium for the browser tests (about a minute; log: build/browser.log)"
if ! "${as_root[@]}" sh -c \
    "export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install -y --no-install-recommends chromium fonts-dejavu-core" \
    >"$log" 2>&1 </dev/null; then
    tail -n 5 "$log" >&2
    echo "== chromium could not be installed: the browser tests are skipped" >&2
fi
