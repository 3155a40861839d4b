# Sourced: an offline kit of the running service, used where there is no network at all.

judge_kit() {
    local configuration out="$work/kitted" kit="$work/kit" mode
    configuration="$(place_of configuration)"
    version="$("$signer" --version | cut -d' ' -f2)"
    (umask 077 && openssl genpkey -quiet -algorithm ed25519 -out "$work/kit.key")
    openssl pkey -in "$work/kit.key" -pubout -out "$work/kit.pub"
    openssl genpkey -quiet -algorithm ed25519 | openssl pkey -pubout -out "$work/other.pub"
    for mode in keyless kms; do
        "$signer" sign --credentials "$dev/credentials.json" --mode "$mode" --out "$out/$mode" "$sbom" >/dev/null
        cp "$sbom" "$out/$mode/"
    done
    accepts signer "an offline kit" '^kit of .*good until' \
        "$signer" kit export --config "$configuration" --key "$work/kit.key" --out "$kit"
    refuses signer "a kit signed by a key of the service" 'make one of its own' \
        "$signer" kit export --config "$configuration" --key "$(dirname "$configuration")/audit.key" --out "$kit-2"

    for mode in keyless kms; do
        accepts signer "$mode, by the kit, without a network" '^verified' \
            cut_off "$signer" verify --kit "$kit" --kit-key "$work/kit.pub" "$out/$mode/bundle.sigstore.json"
    done
    refuses signer "a kit by another key" 'not signed by the key given' \
        cut_off "$signer" verify --kit "$kit" --kit-key "$work/other.pub" "$out/kms/bundle.sigstore.json"

    version="$(<"${cosign3%/usr/bin/cosign}/version")"
    local key=("$kit"/public-keys/*.pem)
    accepts cosign "kms, by the kit, without a network" '^Verified OK' \
        cut_off "$cosign3" verify-blob-attestation --bundle "$out/kms/bundle.sigstore.json" --new-bundle-format \
        --insecure-ignore-tlog --type "$predicate_type" --key "${key[0]}" "$sbom"
    local identity
    identity="$(python3 -c 'import json, sys
identity = json.load(open(sys.argv[1]))["bundle"]["signingIdentity"]
print(identity["issuer"])' "$out/keyless/response.json")"
    accepts cosign "keyless, by the kit, without a network" '^Verified OK' \
        cut_off "$cosign3" verify-blob-attestation --bundle "$out/keyless/bundle.sigstore.json" --new-bundle-format \
        --insecure-ignore-tlog --insecure-ignore-sct --type "$predicate_type" --trusted-root "$kit/trusted_root.json" \
        --certificate-oidc-issuer "$identity" --certificate-identity "$keyless_identity" "$sbom"

    version="$(python_version_of securesystemslib)"
    local dsse=("$python" "$here/judges/securesystemslib_verify.py")
    accepts securesystemslib "the kit's manifest" '^VERIFIED' "${dsse[@]}" "$kit/kit.dsse.json" "$work/kit.pub"
    refuses securesystemslib "the kit's manifest, by another key" 'VerificationError' \
        "${dsse[@]}" "$kit/kit.dsse.json" "$work/other.pub"

    version="$("$signer" --version | cut -d' ' -f2)"
    echo >>"$kit/keys.json"
    refuses signer "a kit with a file altered" 'altered' \
        "$signer" kit verify "$kit" --key "$work/kit.pub"
}

# In a network namespace with nothing in it, not even a loopback that is up.
cut_off() {
    unshare --map-root-user --net "$@"
}
