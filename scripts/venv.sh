# Sourced by the other scripts, in the checkout's directory.

# Makes a virtual environment, and makes it anew when its interpreter or the packages pinned for it change.
make_venv() { # make_venv VENV PYTHON REQUIREMENTS
    made_from() {
        cat requirements*.txt && "$1" --version
    }
    if ! made_from "$2" | cmp -s - "$1/.made-from" 2>/dev/null; then
        echo "setup: making $1"
        # One after the other also where the caller looks at the exit code, which turns off `set -e`.
        rm -rf "$1" &&
            mkdir -p "$(dirname "$1")" &&
            "$2" -m venv "$1" &&
            "$1/bin/python" -m pip --quiet --disable-pip-version-check install -r "$3" &&
            made_from "$2" >"$1/.made-from"
    fi
}
