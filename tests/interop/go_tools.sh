# Sourced: servers of Sigstore and registries, built from Go modules into the cache; the extended lane needs them.

# Afterwards `$fulcio`, `$timestamp_server`, `$rekor`, `$zot`, `$referrers_registry` and `$ct_log` name what runs, and so do their
# `…_version`.
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
    install_zot v1.4.3 h1:/6btePyKpR2R1FwGa8WhqtviB10Ox5Yw+rsYVmenhFI=
    build_referrers_registry
    build_ct_log
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

# install_zot VERSION HASH: sets `$zot` and `$zot_version`. The module's path is not the name that it gives itself, so `go
# install` refuses it: it is built from a module that differs from its own go.mod in the name alone. HASH is that of the
# module, whose own go.sum names all others.
install_zot() {
    local module=github.com/project-zot/zot name=zotregistry.io/zot folder="$interop_cache/go/zot" found started="$SECONDS"
    zot="$interop_cache/go/bin/zot"
    zot_version="$(go_replacement_of "$zot" "$module")"
    if [[ $zot_version != "$1 $2" ]]; then
        echo "building $name $1"
        rm -rf "$folder"
        mkdir -p "$folder"
        found="$(cd "$folder" && env GOTOOLCHAIN=local go mod download -json "$module@$1")" || fail "$found"
        [[ $(json_member Sum <<<"$found") == "$2" ]] || fail "$module $1 is not the one that was pinned"
        found="$(json_member Dir <<<"$found")"
        {
            sed 's|^module .*|module stellaops.local/interop/zot|' "$found/go.mod"
            printf 'require %s %s\nreplace %s => %s %s\n' "$name" "$1" "$name" "$module" "$1"
        } >"$folder/go.mod"
        { cat "$found/go.sum" && echo "$module $1 $2"; } >"$folder/go.sum"
        printf '//go:build tools\n\npackage tools\n\nimport _ "%s/cmd/zot"\n' "$name" >"$folder/tools.go"
        quiet_go env -C "$folder" GOFLAGS="-p=2 -mod=mod" \
            go build -tags containers_image_openpgp -trimpath -o "$zot" "$name/cmd/zot"
        zot_version="$(go_replacement_of "$zot" "$module")"
        echo "built in $((SECONDS - started)) s"
    fi
    [[ $zot_version == "$1 $2" ]] || fail "$zot is zot $zot_version, not $1 $2"
    zot_version="${1#v}"
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

# The certificate transparency log of ctlog/main.go; `go.sum` says of what.
build_ct_log() {
    ct_log="$interop_cache/go/ctlog-$(fingerprint "$here"/ctlog/*)"
    [[ -x $ct_log ]] || quiet_go env -C "$here/ctlog" go build -o "$ct_log" .
    ct_log_version="$(go_module_of "$ct_log" dep github.com/google/certificate-transparency-go)"
    ct_log_version="${ct_log_version#v}"
    [[ $ct_log_version ]] || fail "$ct_log is not what ctlog/main.go says: remove it"
}

# go_module_of PROGRAM mod|dep MODULE: its version.
go_module_of() {
    go version -m "$1" 2>/dev/null | awk -v kind="$2" -v module="$3" '$1 == kind && $2 == module { print $3 }' || true
}

# go_replacement_of PROGRAM MODULE: version and hash of the module that it was built from in place of another.
go_replacement_of() {
    go version -m "$1" 2>/dev/null | awk -v module="$2" '$1 == "=>" && $2 == module { print $3, $4; exit }' || true
}

json_member() {
    python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

# With half of what the compiler would take, and quiet when all is well.
quiet_go() {
    local log="$interop_cache/go/log"
    mkdir -p "$interop_cache/go"
    env GOFLAGS=-p=2 GOTOOLCHAIN=local CGO_ENABLED=0 nice "$@" >"$log" 2>&1 || fail "$(<"$log")"
}
