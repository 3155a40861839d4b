# Sourced: timestamps over signatures. Authorities that share no code with the service stamp, and others' programs judge.

# After start_dev: the authority of `signer dev`, then one whose answers are OpenSSL's, honest and not.
judge_timestamps() {
    start_openssl_authority
    timestamped_by "openssl ts" "$stamps_url/good" "$stamps/chain.pem"
    local how
    for how in old other silent; do
        misled_by "$how" "$stamps_url/$how" "$stamps/chain.pem"
    done
    misled_by "nobody there" "http://127.0.0.1:$(free_port)/" "$stamps/chain.pem"
}

# After start_sigstore: Sigstore's own.
judge_sigstore_timestamps() {
    timestamped_by "timestamp-authority $timestamp_server_version" "$tsa_url/api/v1/timestamp" "$sigstore/tsa.pem"
}

start_openssl_authority() {
    stamps="$work/stamps"
    mkdir -p "$stamps"
    python3 "$here/timestamps/authority.py" "$stamps" >"$stamps/out" 2>"$stamps/log" &
    pids+=($!)
    wait_for "$stamps/out" '"ready":true' "$stamps/log"
    stamps_url="$(member_of "$stamps/out" url)"
}

# start_stamped_service URL CHAIN
start_stamped_service() {
    SIGNER__TIMESTAMP__URL="$1" SIGNER__TIMESTAMP__CHAIN="$2" SIGNER__TIMESTAMP__TIMEOUT=1s \
        SIGNER__SERVER__REQUEST_TIMEOUT=5s start_backend_service dev-2026 /dev/null
}

# timestamped_by NAME URL CHAIN: signs with either kind of key, and asks everyone.
timestamped_by() {
    local name="$1" chain="$3" mode out issuer material
    start_stamped_service "$2" "$chain"
    for mode in keyless kms; do
        out="$work/stamped-by-${name%% *}-$mode"
        "$signer" sign --credentials "$backend_credentials" --mode "$mode" --out "$out" "$sbom" >"$out.log" 2>&1 ||
            { cat "$out.log"; fail "the service did not sign with timestamps by $name"; }
        curl -sS --fail "$service/api/v1/signer/trust" >"$out/trusted_root.json"
        python3 "$here/support/tamper.py" "$out/bundle.sigstore.json" "$out/tampered-bundle.json"
        python3 "$here/timestamps/take.py" "$out/response.json" "$out/signature" "$out/response.tsr"
        local js=(--trusted-root "$out/trusted_root.json")
        if [[ $mode == kms ]]; then
            material=(--key "$out/public-key.pem")
            js+=("${material[@]}")
        else
            issuer="$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["bundle"]["signingIdentity"]["issuer"])' "$out/response.json")"
            material=(--certificate-oidc-issuer "$issuer" --certificate-identity "$keyless_identity" --insecure-ignore-sct)
            js+=(--issuer "$issuer" --subject "$keyless_identity")
        fi
        version="$(openssl version | cut -d' ' -f2)"
        accepts "openssl ts" "$mode, stamped by $name" '^Verification: OK' openssl_ts "$out" "$chain" signature
        refuses "openssl ts" "$mode, stamped by $name, over else" 'message imprint mismatch' \
            openssl_ts "$out" "$chain" response.json
        local program
        for program in "$cosign3" "$cosign2"; do
            version="$(<"${program%/usr/bin/cosign}/version")"
            accepts cosign "$mode, stamped by $name" '^Verified OK' \
                cosign_blob "$program" "$out" bundle.sigstore --use-signed-timestamps "${material[@]}"
            refuses cosign "$mode, stamped by $name, tampered" 'do not match threshold' \
                cosign_blob "$program" "$out" tampered-bundle --use-signed-timestamps "${material[@]}"
        done
        version="$(npm_version_of @sigstore/verify)"
        accepts "@sigstore/verify" "$mode, stamped by $name" '^VERIFIED' \
            sigstore_js "$out/bundle.sigstore.json" "${js[@]}"
        version="$("$signer" --version | cut -d' ' -f2)"
        local trust=(--trust "$out/trusted_root.json")
        [[ $mode == keyless ]] || trust+=(--trust "$out/public-key.pem")
        accepts signer "$mode, stamped by $name" 'proven by a timestamp' \
            "$signer" verify "$out/bundle.sigstore.json" "${trust[@]}"
        [[ $mode == keyless ]] || retired_around "$out" "$name"
    done
    stop "$backend_pid"
}

# retired_around OUT NAME: the key as it is published after a retirement that the timestamp is of before, or of after.
retired_around() {
    local out="$1" root=(--trusted-root "$1/trusted_root.json") when
    curl -sS --fail "$service/api/v1/signer/trust/keys" >"$out/keys.json"
    for when in after before; do
        python3 "$here/timestamps/retire.py" "$out/keys.json" "$when" >"$out/retired-$when.json"
    done
    version="$(npm_version_of @sigstore/verify)"
    accepts "@sigstore/verify" "kms, stamped by $2, key retired later" '^VERIFIED' \
        sigstore_js "$out/bundle.sigstore.json" "${root[@]}" --keys "$out/retired-after.json"
    refuses "@sigstore/verify" "kms, stamped by $2, key retired before" 'Public key is not valid for timestamp' \
        sigstore_js "$out/bundle.sigstore.json" "${root[@]}" --keys "$out/retired-before.json"
    version="$("$signer" --version | cut -d' ' -f2)"
    accepts signer "kms, stamped by $2, key retired later" 'proven by a timestamp' \
        "$signer" verify "$out/bundle.sigstore.json" --trust "$out/trusted_root.json" --trust "$out/retired-after.json"
    refuses signer "kms, stamped by $2, key retired before" 'signs no more since' \
        "$signer" verify "$out/bundle.sigstore.json" --trust "$out/trusted_root.json" --trust "$out/retired-before.json"
}

# Without a network: all it takes is at hand.
openssl_ts() {
    openssl ts -verify -in "$1/response.tsr" -data "$1/$3" -CAfile "$2" -untrusted "$2"
}

# misled_by HOW URL CHAIN: nothing is signed, and 502 says why.
misled_by() {
    start_stamped_service "$2" "$3"
    version="$(openssl version | cut -d' ' -f2)"
    accepts "openssl ts" "authority: $1" '"code":"timestamp_error".*"retryable":true' code_of_signing
    stop "$backend_pid"
}
