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

failed=()
check() {
    echo "== $1"
    .venv/bin/python "${@:2}" || failed+=("$1")
}

check "ruff check" -m ruff check .
check "ruff format" -m ruff format --check .
check mypy -m mypy
check lint-imports .venv/bin/lint-imports
check djlint -m djlint --check --lint --quiet templates
check codespell -m codespell_lib
if [ ${#failed[@]} -gt 0 ]; then
    echo "Checks that failed, besides what the tests say: $(printf "%s; " "${failed[@]}")" >&2
fi

# Tests run even then, so that one run shows everything; their summary stays the last line.
.venv/bin/python -m pytest ${selection[@]+"${selection[@]}"} "$@" && [ ${#failed[@]} -eq 0 ]
