#!/usr/bin/env bash
# Check everything: ./test.sh          Without browser, engine and crash tests: ./test.sh --fast
# Further arguments go to pytest. Needs Python 3.11 or newer; installs the rest. The last line is pytest's summary.
set -euo pipefail
unset CDPATH
cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")"
. ./.ci/environment.sh

# Prints the browser to test with.
find_chromium() {
    local candidate
    for candidate in ${CHROMIUM:+"$CHROMIUM"} google-chrome google-chrome-stable chromium chromium-browser; do
        command -v -- "$candidate" && return
    done
    return 1
}

need_chromium() {
    CHROMIUM="$(find_chromium)" && export CHROMIUM && return
    command -v apt-get >/dev/null || fail "Chromium is missing: install it, or set CHROMIUM to its path."
    [ "$(id -u)" = 0 ] || fail "Chromium is missing. Type: sudo apt-get install -y chromium"
    echo "Installing chromium ..."
    apt_install chromium || fail "Chromium could not be installed. Install it, or set CHROMIUM to its path."
    CHROMIUM="$(find_chromium)" || fail "Chromium was installed but is not found: set CHROMIUM to its path."
    export CHROMIUM
}

selection=()
if [ "${1:-}" = --fast ]; then
    shift
    selection=(-m "not browser and not engine and not crash and not start")
fi

make_environment
install_if_changed requirements-dev.txt
[ ${#selection[@]} -gt 0 ] || need_chromium

run() { .venv/bin/python -m "$@"; }
run ruff check .
run ruff format --check .
run mypy
.venv/bin/lint-imports
.venv/bin/djlint --check --lint --quiet templates
.venv/bin/codespell
exec .venv/bin/python -m pytest ${selection[@]+"${selection[@]}"} "$@"
