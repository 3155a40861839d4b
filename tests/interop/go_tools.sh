# Sourced: servers of Sigstore and a registry, built from Go modules into the cache; the extended lane needs them.

# Afterwards `$fulcio`, `$timestamp_server`, `$rekor` and `$referrers_registry` name what runs, and so do their `…_version`.
install_go_tools() {
    command -v go >/dev/null || fail "go is missing: install Go 1.26 or later"
    exec 9>"$interop_cache/lock"
    flock 9
    install_go fulcio github.com/sigstore/fulcio v1.8.8
    fulcio="$built" fulcio_version="${built_version#v}"
    install_go timestamp-server github.com/sigstore/timestamp-authority/v2 v2.1.3 /cmd/timestamp-server
    timestamp_server="$built" timestamp_server_version="${built_version#v}"
    install_go posix github.com/sigstore/rekor-tiles/v2 v2.3.0 /cmd/rekor-server/posix
    rekor="$built" rekor_version="${built_version#v}"
    build_referrers_registry
    flock -u 9
    exec 9>&-
}

# install_go PROGRAM MODULE VERSION [PACKAGE]: sets `$built` and `$built_version`. What a program was built from is in it.
install_go() {
    local program="$1" module="$2" wanted="$3" started="$SECONDS"
    built="$interop_cache/go/bin/$program"
    built_version="$(go_module_of "$built" mod "$module")"
    if [[ $built_version != "$wanted" ]]; then
        echo "building $module${4-} $wanted"
        quiet_go env GOBIN="$interop_cache/go/bin" go install "$module${4-}@$wanted"
        built_version="$(go_module_of "$built" mod "$module")"
        echo "built in $((SECONDS - started)) s"
    fi
    [[ $built_version == "$wanted" ]] || fail "$built is $module $built_version, not $wanted"
}

# The registry of registry/main.go; `go.sum` says of what.
build_referrers_registry() {
    referrers_registry="$interop_cache/go/registry-$(fingerprint "$here"/registry/*)"
    [[ -x $referrers_registry ]] ||
        quiet_go env -C "$here/registry" go build -o "$referrers_registry" .
    referrers_registry_version="$(go_module_of "$referrers_registry" dep github.com/google/go-containerregistry)"
    referrers_registry_version="${referrers_registry_version#v}"
    [[ $referrers_registry_version ]] || fail "$referrers_registry is not what registry/main.go says: remove it"
}

# go_module_of PROGRAM mod|dep MODULE: its version.
go_module_of() {
    go version -m "$1" 2>/dev/null | awk -v kind="$2" -v module="$3" '$1 == kind && $2 == module { print $3 }' || true
}

# With half of what the compiler would take, and quiet when all is well.
quiet_go() {
    local log="$interop_cache/go/log"
    mkdir -p "$interop_cache/go"
    env GOFLAGS=-p=2 GOTOOLCHAIN=local CGO_ENABLED=0 nice "$@" >"$log" 2>&1 || fail "$(<"$log")"
}
