# Sourced by the other scripts, in the checkout's directory.

# Makes a virtual environment, and makes it anew when its interpreter or the packages pinned for it change. Every
# package is a file whose hash is known, and none runs code to be installed.
make_venv() { # make_venv VENV PYTHON LIST, of requirements/
    made_from() {
        cat "requirements/$2.txt" && "$1" --version
    }
    if ! made_from "$2" "$3" | cmp -s - "$1/.made-from" 2>/dev/null; then
        echo "setup: making $1"
        # One after the other also where the caller looks at the exit code, which turns off `set -e`.
        rm -rf "$1" &&
            mkdir -p "$(dirname "$1")" &&
            "$2" -m venv "$1" &&
            "$1/bin/python" -m pip --quiet --disable-pip-version-check install \
                --only-binary :all: --require-hashes -r "requirements/$3.txt" &&
            made_from "$2" "$3" >"$1/.made-from"
    fi
}

# Runs a program of a crate, and installs it first where this checkout has another version or none.
cargo_tool() { # cargo_tool CRATE VERSION ARGUMENTS...
    tools=$PWD/.belljar/cargo
    crate=$1 version=$2
    shift 2
    if ! grep -qs "^\"$crate $version " "$tools/.crates.toml"; then
        echo "setup: building $crate $version" >&2
        # Unoptimised: it is run seldom, and built in a third of the time.
        cargo install --quiet --locked --debug --root "$tools" --version "=$version" "$crate" >&2 || return
    fi
    "$tools/bin/$crate" "$@"
}
