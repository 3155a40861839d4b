# Sourced: the audit trail of a running service, judged by Go's transparency log packages, which share no code with it.

# Sets `$audit_judge`. With a network: its modules are fetched.
install_audit_judge() {
    local source="$here/judges/audit"
    audit_judge="$interop_cache/go/audit-judge-$(cat "$source"/go.* "$source"/*.go | sha256sum | cut -c1-16)"
    if [[ ! -x $audit_judge ]]; then
        mkdir -p "$interop_cache/go"
        quiet_go env -C "$source" go build -o "$audit_judge" .
    fi
}

# The disk fails in every way, under load; see the table in docs/reference/audit.md.
judge_audit_faults() {
    local folder="$work/faults" what
    mkdir "$folder"
    cc -shared -fPIC -O2 -o "$folder/shim.so" "$here/audit/shim.c" -ldl || fail "the failing disk was not built: install a C compiler"
    # A mount namespace of its own: one of the disks is a small tmpfs.
    unshare --mount "$python" "$here/audit/faults.py" "$signer" "$root/src/adapters/registry/cosign/testdata" \
        "$folder/shim.so" "$folder" >"$folder/judged" 2>&1 || true
    version="$("$signer" --version | cut -d' ' -f2)"
    for what in "full disk (tmpfs)" "write EIO" "fdatasync EIO" "short writes" "read-only (EROFS)" "fdatasync hangs" \
        "fdatasync 100 ms" "torn write" "truncated tail"; do
        accepts signer "audit trail, $what" "^ok" said "$folder/judged" "$what"
    done
}

judge_audit() {
    version="$(awk '$2 == "golang.org/x/mod" { print $3 }' "$here/judges/audit/go.mod")"
    local configuration base trail="$work/trail" vkey
    configuration="$(place_of configuration)"
    base="$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["baseUrl"])' "$dev/credentials.json")"
    vkey="$("$signer" check --offline --config "$configuration" | grep -oE 'verifier key is .*')"
    vkey="${vkey#verifier key is }"

    # A checkpoint, then a signature, then a checkpoint that goes on from it.
    local size=0 end=$((SECONDS + 60))
    until ((size > 0)); do
        ((SECONDS < end)) || fail "no checkpoint of any record"
        curl -sS -H 'Accept: text/plain' "$base/api/v1/signer/audit/checkpoint" >"$work/old.note"
        size="$(sed -n 2p "$work/old.note")"
    done
    "$signer" sign --credentials "$dev/credentials.json" --out "$work/audited" "$sbom" >/dev/null
    until curl -sS "$base/api/v1/signer/audit/checkpoint?from=$size" >"$work/new.json" &&
        [[ $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["size"])' "$work/new.json") -gt $size ]]; do
        ((SECONDS < end)) || fail "no checkpoint after the signature"
        sleep 0.2
    done
    cp -r "$(dirname "$configuration")/audit" "$trail"
    accepts "x/mod sumdb" "audit trail" '^VERIFIED: [1-9]' "$audit_judge" trail "$trail" "$vkey"
    accepts "x/mod sumdb" "consistency" '^VERIFIED: .* go on from' \
        "$audit_judge" consistency "$work/old.note" "$work/new.json" "$vkey"
    accepts "signer" "the same trail" '^whole and unaltered' \
        "$signer" audit verify --key "$vkey" --checkpoint "$work/old.note" "$trail"

    local bundle tile
    bundle="$(printf '%s\n' "$trail"/tile/entries/000.p/* | sort -V | tail -1)"
    tile="$trail/tile/0/000.p/${bundle##*/}"
    cp "$bundle" "$work/bundle" && cp "$tile" "$work/tile"
    sed -i 's/"event":"intent"/"event":"Intent"/' "$bundle"
    refuses "x/mod sumdb" "audit trail, record altered" 'is not the one in the tree' "$audit_judge" trail "$trail" "$vkey"
    refuses "signer" "audit trail, record altered" 'NOT whole: .*altered' "$signer" audit verify "$trail"
    cp "$work/bundle" "$bundle"
    printf 'x' | dd of="$tile" conv=notrunc status=none
    refuses "x/mod sumdb" "audit trail, hash altered" 'downloaded inconsistent tile' "$audit_judge" trail "$trail" "$vkey"
    cp "$work/tile" "$tile"
    sed -i "s/^$size\$/$((size + 1))/" "$work/old.note"
    refuses "x/mod sumdb" "checkpoint altered" 'invalid signature' \
        "$audit_judge" consistency "$work/old.note" "$work/new.json" "$vkey"
}
