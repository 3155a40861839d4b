# Sourced: who takes the signer's bundles on. An Attestor logs them in a real Rekor v2, an Export Center promotes them.

# After judge_registries: Rekor and what cosign knows of it are there.
judge_consumers() {
    local mode out="$work/consumed" logged=() options
    for mode in kms keyless; do
        "$signer" sign --credentials "$dev/credentials.json" --mode "$mode" --out "$out/$mode" "$sbom" >/dev/null
        version="$rekor_version"
        accepts "Rekor v2" "$mode bundle, by an Attestor" '^LOGGED .* unchanged$' python3 "$here/consumer/attestor.py" log \
            "$rekor_url" "$out/$mode/response.json" "$out/$mode/bundle.sigstore.json" "$out/$mode/logged.json"
        logged+=("$out/$mode/logged.json")
    done
    python3 - "$out/kms/response.json" "$out/altered.json" <<'END'
import base64, json, sys
answer = json.load(open(sys.argv[1]))
payload = base64.b64decode(answer["bundle"]["dsse"]["payload"])
answer["bundle"]["dsse"]["payload"] = base64.b64encode(payload + b" ").decode()
json.dump(answer, open(sys.argv[2], "w"))
END
    refuses "Rekor v2" "a bundle with another payload" '^NOT LOGGED: 400' python3 "$here/consumer/attestor.py" log \
        "$rekor_url" "$out/altered.json" "$out/kms/bundle.sigstore.json" "$out/altered-logged.json"

    version="$(<"${cosign3%/usr/bin/cosign}/version")"
    options=(--new-bundle-format --trusted-root "$sigstore/root.json" --type "$predicate_type"
        --key "$out/kms/public-key.pem")
    accepts cosign "kms bundle with Rekor's entry, by its trusted root" '^Verified OK' \
        "$cosign3" verify-blob-attestation "${options[@]}" --bundle "$out/kms/logged.json" "$sbom"
    refuses cosign "the same, without the entry" 'tlog|log entr|threshold' \
        "$cosign3" verify-blob-attestation "${options[@]}" --bundle "$out/kms/bundle.sigstore.json" "$sbom"
    judge_promotion
}

judge_promotion() {
    local url token proof center=(python3 "$here/consumer/export_center.py")
    url="$(member_of "$dev/credentials.json" baseUrl)/api/v1/signer/sign/dsse"
    "${center[@]}" request "$dev/credentials.json" "$out/request.json" "${logged[@]}"
    token="$("$signer" proof --credentials "$dev/credentials.json" --token)"
    proof="$("$signer" proof --credentials "$dev/credentials.json" --method POST --url "$url")"
    curl -sS "$url" -H "Authorization: DPoP $token" -H "DPoP: $proof" -H 'Content-Type: application/json' \
        --data-binary "@$out/request.json" >"$out/promotion.json"
    python3 -c 'import json, sys
bundle = json.load(open(sys.argv[1]))["bundle"]
json.dump(bundle["dsse"], open(sys.argv[2], "w"))
open(sys.argv[3], "w").write(bundle["signingIdentity"]["publicKey"])' \
        "$out/promotion.json" "$out/promotion-envelope.json" "$out/promotion.pem" ||
        fail "the promotion was not signed: $(<"$out/promotion.json")"
    version="$(python_version_of securesystemslib)"
    accepts securesystemslib "promotion of both, by an Export Center" '^VERIFIED' \
        "$python" "$here/judges/securesystemslib_verify.py" "$out/promotion-envelope.json" "$out/promotion.pem"
    version="$("$signer" --version | cut -d' ' -f2)"
    accepts "Export Center" "its manifest names both bundles as they are" '^PROMOTED: 2 bundles, unchanged' \
        "${center[@]}" check "$out/promotion-envelope.json" "${logged[@]}"
    echo >>"${logged[0]}"
    refuses "Export Center" "a bundle altered on the way" '^NOT PROMOTED' \
        "${center[@]}" check "$out/promotion-envelope.json" "${logged[@]}"
}
