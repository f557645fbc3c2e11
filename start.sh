#!/usr/bin/env bash
# Start chatapp: ./start.sh
# Needs Python 3.11 or newer, nothing else. Settings: docs/CONFIGURATION.md. PYTHON names the Python to use.
set -euo pipefail
unset CDPATH
case "${PYTHON:-}" in
    /* | "") ;;
    */*) PYTHON="$PWD/$PYTHON" ;;
esac
cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")"
. ./.ci/environment.sh

make_environment
install_if_changed requirements.txt
exec .venv/bin/python -m chatapp.serve "$@"
