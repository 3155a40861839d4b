# Sourced: each backend's key is rotated while requests go on, by the runbook's steps. None may fail, and what either key
# signed has to verify: by the service's own command, and by cosign.

# judge_rotation JUDGE OLD NEW TABLES.toml NEW_KEY DESTROY: see backends/rotation.py; the commands are bash's.
judge_rotation() {
    local judge="$1" out generation other seen
    out="$(mktemp -d "$work/rotation.XXXX")"
    echo '{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}' >"$out/document.json"
    "$python" "$here/backends/rotation.py" "$signer" "$(place_of configuration)" "$dev/credentials.json" "$4" "$2" "$3" \
        "$out/document.json" "$out" "$5" "$6" >"$out/judged" 2>&1 || true
    seen="$(sed -nE 's/^rotated: ([0-9]+) .* ([0-9]+) by .*/\1 + \2 requests/p' "$out/judged")"
    accepts "$judge" "rotation under load, ${seen:-failed}" '^rotated: .*, 0 failed;' cat "$out/judged"
    [[ -n $seen ]] || return 0

    local sbom="$out/document.json"
    for generation in old new; do
        version="$("$signer" --version | cut -d' ' -f2)"
        accepts signer "$judge, $generation key, after rotation" '^verified' \
            "$signer" verify --trust "$out/keys.json" --trust "$out/trusted_root.json" "$out/$generation/bundle.sigstore.json"
        version="$(<"${cosign3%/usr/bin/cosign}/version")"
        accepts cosign "$judge, $generation key, after rotation" '^Verified OK' \
            cosign_blob "$cosign3" "$out/$generation" bundle.sigstore --key "$out/$generation/public-key.pem"
        other="$([[ $generation == old ]] && echo new || echo old)"
        refuses cosign "$judge, $generation key's by the other" 'accepted signatures do not match threshold' \
            cosign_blob "$cosign3" "$out/$generation" bundle.sigstore --key "$out/$other/public-key.pem"
    done
}

# A key file, as the runbook makes it.
judge_file_rotation() {
    local folder="$work/files"
    mkdir -p "$folder"
    new_key_file "$folder" release-2026
    version="$("$signer" --version | cut -d' ' -f2)"
    judge_rotation "a key file" release-2026 release-2027 "$folder/backends.toml" \
        "$(declare -f new_key_file); new_key_file $folder release-2027" "rm $folder/release-2026.pem $folder/release-2026.pass"
}

# new_key_file FOLDER ID: with a passphrase, and a table in FOLDER/backends.toml.
new_key_file() {
    local file="$1/$2"
    (umask 077 && openssl rand -hex 20 >"$file.pass")
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc -pass "file:$file.pass" \
        -out "$file.pem"
    chmod 0600 "$file.pem"
    openssl pkey -in "$file.pem" -passin "file:$file.pass" -pubout -out "$file.pub"
    printf '[[signing.backends]]\nkind = "file"\nid = "%s"\nkey = "file:%s"\npassphrase = "file:%s"\nalgorithm = "%s"\n\n' \
        "$2" "$file.pem" "$file.pass" ecdsa-p256-sha256 >>"$1/backends.toml"
}
