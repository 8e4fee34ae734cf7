#!/bin/sh
# Builds the guest: CPython for WASI, its library, the image that every sandboxed call starts from.
#
# usage: sandbox/guest/build.sh [MINOR]      the default of pythons.toml unless given
#
# The guest appears as $BELLJAR_GUEST_DIR/MINOR (default: ${XDG_CACHE_HOME:-~/.cache}/belljar/MINOR), a
# link to a folder named after the hash of everything that went into it; what is there already is not
# built again. Below `work/` the slow steps are kept, each by the hash of its own inputs:
#
#   sources/   tarballs, pinned by hash. BELLJAR_SOURCES names a folder or URL that holds them;
#              else they come from the distribution's source packages.
#   python-*/  CPython and zlib as libraries for wasm32-wasi (three minutes)
#   package-*/ a package of packages/packages.toml each (half a minute to four minutes)
#   linked-*/  all of them and the shim, one module (three minutes)
#
# Missing tools are installed with apt, for which it must be root.
set -eu
# What a guest consists of belongs to who builds it, and nobody else may write it: it is refused otherwise.
umask 022
export TAR_OPTIONS=--no-same-owner
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
MINOR=${1:-$("$ROOT/scripts/python-table.sh" default)}
CACHE=${BELLJAR_GUEST_DIR:-${XDG_CACHE_HOME:-${HOME:?is not set: BELLJAR_GUEST_DIR names the directory of the guests}/.cache}/belljar}
mkdir -p "$CACHE/work/sources"
CACHE=$(realpath "$CACHE")
WORK=$CACHE/work
. "$HERE/minors.sh"
. "$HERE/toolchain.sh"

say() { echo "guest $MINOR: $*" >&2; }
die() { say "$*"; exit 1; }

row "$MINOR" ||
    die "there is no guest of Python $MINOR; hint: pythons.toml has" $("$ROOT/scripts/python-table.sh" list guest) "and docs/how-to/add-a-python.md says why"

# One build at a time: the steps share folders.
exec 9>"$WORK/lock"
flock 9

# What packages take besides. tclsh and the compiler of this machine put SQLite's source together.
PACKAGE_TOOLS="libc++-14-dev-wasm32 libc++abi-14-dev-wasm32 gcc libc6-dev tcl"

install_missing() {
    missing=
    for package in $TOOL_PACKAGES $PACKAGE_TOOLS $BUILD_PACKAGES; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return
    say "installing$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
}

# Fetches a source package's tarball. Source packages need an entry of their own in apt's lists: it is
# made in a file that nothing else uses, of the binary entries, and goes away again. Where the package is of
# another suite, the entries are as that has them.
#
# usage: fetch_packaged PACKAGE [SUITE]
fetch_packaged() {
    lists=$(mktemp -d)
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")
    suite=${2:-$codename}
    trap 'rm -rf "$lists"' EXIT
    mkdir -p "$lists/state/lists/partial" "$lists/parts"
    for entry in /etc/apt/sources.list.d/*.sources; do
        [ -e "$entry" ] && sed "s/^Types:.*/Types: deb-src/; s/\b$codename\b/$suite/g" "$entry" >"$lists/parts/$(basename "$entry")"
    done
    [ -e /etc/apt/sources.list ] && sed "s/^deb /deb-src /; s/\b$codename\b/$suite/g" /etc/apt/sources.list >"$lists/sources.list"
    touch "$lists/sources.list"
    options="-o Dir::Etc::sourcelist=$lists/sources.list -o Dir::Etc::sourceparts=$lists/parts -o Dir::State::lists=$lists/state/lists"
    apt-get $options update -qq
    (cd "$WORK/sources" && apt-get $options source -qq --download-only --tar-only "$1" >/dev/null)
    rm -rf "$lists"
    trap - EXIT
}

# Fetches a file of the package index that pip is configured for.
#
# usage: fetch_indexed PROJECT FILE
fetch_indexed() {
    "$TOOLS/bin/python" "$HERE/packages/fetch_index.py" "$1" "$2" "$WORK/sources/$2.new"
    mv "$WORK/sources/$2.new" "$WORK/sources/$2"
}

# usage: fetch PACKAGE TARBALL SHA256 [SUITE]      the package is `index:PROJECT` for one of the package index
fetch() {
    target=$WORK/sources/$2
    if ! [ -e "$target" ]; then
        say "fetching $2"
        case ${BELLJAR_SOURCES:-} in
            "") case $1 in
                index:*) fetch_indexed "${1#index:}" "$2" ;;
                *) fetch_packaged "$1" "${4:-}" ;;
                esac ;;
            *://*) python3 -c 'import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])' "$BELLJAR_SOURCES/$2" "$target" ;;
            *) cp "$BELLJAR_SOURCES/$2" "$target" ;;
        esac || true
        # Suites go on to later versions, and take the file of this one away.
        [ -e "$target" ] || die "$2 cannot be fetched; hint: put it into $WORK/sources, the file with SHA-256 $3, or name by" \
            "BELLJAR_SOURCES a folder or URL that has this and all other sources"
    fi
    echo "$3  $target" | sha256sum --check --quiet || { rm -f "$target"; die "$2 is not the pinned file"; }
}

# The standard library and the added packages, compiled ahead. Without what needs modules that the guest
# has not, tests, and the tools of development.
library() {
    mkdir -p "$1/lib" "$1/site"
    (cd "$PYTHON/src/Lib" && tar -cf - --exclude='test' --exclude='tests' --exclude='idlelib' --exclude='lib2to3' \
        --exclude='tkinter' --exclude='turtledemo' --exclude='turtle.py' --exclude='ensurepip' --exclude='distutils' \
        --exclude='curses' --exclude='./ssl.py' --exclude='msilib' --exclude='venv' \
        --exclude='__pycache__' --exclude='*.exe' .) | tar -xf - -C "$1/lib"
    "$TOOLS/bin/pip" install --quiet --no-compile --no-deps --require-hashes \
        --target "$1/site" -r "$HERE/requirements.txt"
    for package in $PACKAGES $APART_PACKAGES; do
        [ ! -d "$package/site" ] || cp -r "$package/site/." "$1/site/"
    done
    cp "$HERE"/site/*.py "$ROOT"/runner/runner*.py "$1/site/"
    # The hash of the source is not checked at import: the folder does not change.
    "$BUILD_PYTHON" -I -m compileall -q --invalidation-mode unchecked-hash -s "$1" "$1/lib" "$1/site" || die "compileall"
}

[ "$(id -u)" -ne 0 ] || install_missing
find_build_python "$MINOR"
[ -x "$BUILD_PYTHON" ] ||
    die "this takes a native Python $MINOR with venv: install python$MINOR and python$MINOR-venv, or \`pyenv install $MINOR\`"
# What runs on this machine for the build, by hash.
TOOLS=$WORK/tools-$MINOR-$(sha256sum "$HERE/packages/tools.txt" | cut -c1-16)
if ! [ -e "$TOOLS/complete" ]; then
    rm -rf "$TOOLS"
    "$BUILD_PYTHON" -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --only-binary :all: --require-hashes -r "$HERE/packages/tools.txt"
    touch "$TOOLS/complete"
fi
fetch "$SOURCE_PACKAGE" "$SOURCE_TARBALL" "$SOURCE_SHA256" "$SOURCE_SUITE"
fetch "$ZLIB_PACKAGE" "$ZLIB_TARBALL" "$ZLIB_SHA256"

# Without the tables of other minors: one guest does not make another be built again.
python_hash=$( (cat "$HERE/python.sh" "$HERE/toolchain.sh" "$HERE/minors.sh" "$HERE/errno.def" "$HERE/linux_errno.h"
    "$ROOT/scripts/python-table.sh" show "$MINOR"; find "$HERE/patches/$MINOR" -name '*.patch' 2>/dev/null | sort | xargs -r cat
    ${CC%% *} --version) | sha256sum | cut -c1-16)
PYTHON=$WORK/python-$MINOR-$python_hash
if ! [ -d "$PYTHON" ]; then
    say "compiling CPython $VERSION"
    rm -rf "$PYTHON.new"
    "$HERE/python.sh" "$MINOR" "$WORK/sources" "$PYTHON.new"
    mv "$PYTHON.new" "$PYTHON"
fi

# Each by what it sees of CPython, so that most patches of CPython do not build it again.
headers_hash=$(cd "$PYTHON/src" && cat Include/*.h Include/*/*.h ../build/pyconfig.h ../build/linux_errno.h Modules/_bz2module.c Modules/_lzmamodule.c \
    Modules/_sqlite/*.[ch] | sha256sum)
table() { TABLE=$HERE/packages/packages.toml "$ROOT/scripts/python-table.sh" "$@"; }
PACKAGES= IMAGES= APART_PACKAGES= APART_IMPORTS=
for name in $(table list sha256); do
    PACKAGE= INDEX= SUITE= NEEDS= IMAGE= APART= IMPORT=
    eval "$(table show "$name")"
    case " $MINORS " in *" $MINOR "*) ;; *) continue ;; esac
    [ -z "$IMAGE" ] || IMAGES="$IMAGES $name"
    fetch "${PACKAGE:-index:$INDEX}" "$TARBALL" "$SHA256" "$SUITE"
    needed=
    for need in $NEEDS; do
        for folder in $PACKAGES $APART_PACKAGES; do
            case $folder in */package-"$MINOR-$need"-*) needed="$needed $folder" ;; esac
        done
    done
    package_hash=$( (echo "$headers_hash" ${needed:+$(basename -a $needed)}; table show "$name"; cd "$HERE/packages"
        cat ../toolchain.sh common.sh "$name"[._]*; [ -z "$INDEX" ] || cat tools.txt meson.sh extension.sh sigscan.py compiler include/shared_mutex
        ! grep -q belljar_jump "$name"[._]* || cat include/belljar_jump.h jump/jump.c
        [ ! -d "$name" ] || cat "$name"/*) | sha256sum | cut -c1-16)
    folder=$WORK/package-$MINOR-$name-$package_hash
    if ! [ -d "$folder" ]; then
        say "compiling $name"
        rm -rf "$folder.new"
        mkdir "$folder.new"
        PATH=$TOOLS/bin:$PATH "$HERE/packages/$name.sh" "$MINOR" "$PYTHON" "$WORK/sources/$TARBALL" "$folder.new" $needed
        mv "$folder.new" "$folder"
    fi
    if [ -z "$APART" ]; then
        PACKAGES="$PACKAGES $folder"
    else
        APART_PACKAGES="$APART_PACKAGES $folder"
        # Libraries have no modules that a call could name.
        [ ! -s "$folder/modules" ] || APART_IMPORTS=$APART_IMPORTS,${IMPORT:-$name}
    fi
done

# usage: link PACKAGE...      sets LINKED, the module with these packages
link() {
    link_hash=$(echo "$python_hash" ${1:+$(basename -a "$@")} | cat - "$HERE/shim.c" "$HERE/errno.c" "$HERE/owner.c" "$HERE/link.sh" "$HERE"/packages/*.c \
        "$HERE/packages/table.sh" "$HERE/packages/duplicates.py" | sha256sum | cut -c1-16)
    LINKED=$WORK/linked-$MINOR-$link_hash.wasm
    [ ! -e "$LINKED" ] || return 0
    say "linking"
    "$HERE/link.sh" "$MINOR" "$PYTHON" "$LINKED.new" "$@"
    # A full disk may leave nothing behind, and no error.
    [ -s "$LINKED.new" ] || { echo "guest $MINOR: linking wrote nothing into $LINKED.new; hint: is the disk full?" >&2; exit 1; }
    mv "$LINKED.new" "$LINKED"
}

# Packages apart are linked into a second module, with those that all calls may use. It has one image, with all of them imported.
APART_IMAGE=
if [ -n "$APART_PACKAGES" ]; then
    link $PACKAGES $APART_PACKAGES
    APART_IMAGE=${APART_IMPORTS#,}=$LINKED
fi
link $PACKAGES

# Compiled code is for one CPU, one version of wasmtime and its settings.
cpu=$(grep -m1 '^flags' /proc/cpuinfo || uname -m)
guest_hash=$( (echo "$link_hash $cpu" ${APART_IMAGE:+"${APART_IMAGE%%/*}$(basename "$APART_IMAGE")"}; grep -A1 '^name = "wasmtime"$' "$ROOT/Cargo.lock"
    grep -A1 '^name = "wasmtime-wasi"$' "$ROOT/sandbox/reference/Cargo.lock"; cat "$ROOT/sandbox/reference/src/start.rs"
    cat "$HERE"/site/*.py "$ROOT"/runner/runner*.py "$HERE/requirements.txt" "$HERE/build.sh" \
        "$ROOT/sandbox/src/snapshot.rs" "$ROOT/sandbox/src/engine.rs") | sha256sum | cut -c1-16)
GUEST=$CACHE/$MINOR-$guest_hash
if ! [ -d "$GUEST" ]; then
    say "making the image"
    rm -rf "$GUEST.new"
    library "$GUEST.new"
    # Unoptimised itself, which costs a second; its dependencies are optimised in every profile. With the features that the
    # whole workspace has, so that the tests need not build them again.
    cargo build --quiet --locked --manifest-path "$ROOT/Cargo.toml" --workspace --bin belljar-snapshot
    target=$(cargo metadata --no-deps --format-version 1 --manifest-path "$ROOT/Cargo.toml" |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    # Another workspace: `wasmtime-wasi` wants more of wasmtime than what compiles the guest may have.
    cargo build --quiet --locked --manifest-path "$ROOT/sandbox/reference/Cargo.toml" --target-dir "$target" --bin belljar-guest-start
    dill=$(sed -n 's/^dill==\([^ ]*\).*/\1/p' "$HERE/requirements.txt")
    rm -rf "$GUEST.started"
    mkdir "$GUEST.started"
    count=$(echo $IMAGES | wc -w)
    "$target/debug/belljar-guest-start" "$LINKED" "$GUEST.new" "$GUEST.started" 0 "$count"
    if [ -n "$APART_IMAGE" ]; then
        count=$((count + 1))
        "$target/debug/belljar-guest-start" "${APART_IMAGE#*=}" "$GUEST.new" "$GUEST.started" "$count" "$count"
    fi
    "$target/debug/belljar-snapshot" "$LINKED" "$GUEST.started" "$GUEST.new" "$VERSION" "$dill" $IMAGES $APART_IMAGE
    rm -rf "$GUEST.started"
    mv "$GUEST.new" "$GUEST"
fi
ln -sfn "$(basename "$GUEST")" "$CACHE/$MINOR.new"
mv -T "$CACHE/$MINOR.new" "$CACHE/$MINOR"
# Guests of earlier inputs: nothing links to them any more.
for old in "$CACHE/$MINOR"-*; do
    [ "$old" = "$GUEST" ] || rm -rf "$old"
done
echo "$CACHE/$MINOR"
