# Sourced: tokens of an Authority that is not ours, obtained and used by callers that are not ours.

judge_authority() {
    start_authority
    start_tls_service "$issuer"
    python3 "$here/support/sign_request.py" make "$dev/credentials.json" "$sbom" "$work/request.json"

    version="$(npm_version_of oidc-provider), $(npm_version_of openid-client)"
    local alg danced='^authority 400,200 service 401,200 token'
    for alg in ES256 ES384 PS256 EdDSA Ed25519; do
        accepts openid-client "oidc-provider: DPoP, token by $alg, nonces" "$danced $(header_by "$alg")" \
            openid_client dpop "scanner-${alg,,}"
    done
    judge_answer "openid-client's bundle"
    for alg in ES384 PS256 Ed25519; do
        accepts openid-client "oidc-provider: DPoP, proof by $alg, nonces" "$danced" \
            openid_client dpop scanner-es256 "$alg"
    done
    refuses openid-client "oidc-provider: DPoP, another key" 'service 401 invalid_token: the proof.s key' \
        openid_client dpop-other-key scanner-es256
    refuses openid-client "oidc-provider: DPoP, request sent twice" 'service 401,200,401 invalid_dpop_proof' \
        openid_client dpop-sent-twice scanner-es256
    refuses openid-client "oidc-provider: DPoP token as Bearer" 'service 401 invalid_token.*DPoP' \
        openid_client dpop-as-bearer scanner-es256

    accepts openid-client "oidc-provider: mTLS, its certificate" '^authority 200 service 200 .*cnf x5t#S256' \
        openid_client mtls scanner-mtls
    refuses openid-client "oidc-provider: mTLS, another certificate" 'service 401 invalid_token.*certificate' \
        openid_client mtls-other-certificate scanner-mtls
    refuses openid-client "oidc-provider: mTLS, no certificate" 'service 401 invalid_token.*certificate' \
        openid_client mtls-no-certificate scanner-mtls

    version="$(npm_version_of oidc-provider), $(python_version_of requests_oauth2client)"
    for alg in ES256 PS256 EdDSA; do
        accepts requests-oauth2client "oidc-provider: DPoP, proof by $alg, nonces" \
            '^authority \[400, 200\] service \[401, 200\]$' python_client scanner-es256 "$alg"
    done
    judge_answer "requests-oauth2client's bundle"
}

judge_keycloak() {
    start_keycloak
    start_tls_service "$issuer"

    version="$keycloak_version, $(npm_version_of openid-client)"
    local alg danced='^authority 200 service 401,200 token'
    for alg in ES256 PS256 EdDSA; do
        accepts openid-client "Keycloak: DPoP, token by $alg, nonce" "$danced $(header_by "$alg")" \
            openid_client dpop "scanner-${alg,,}"
    done
    judge_answer "openid-client's bundle, Keycloak's token"
    refuses openid-client "Keycloak: DPoP, another key" 'service 401 invalid_token: the proof.s key' \
        openid_client dpop-other-key scanner-es256
    refuses openid-client "Keycloak: DPoP token as Bearer" 'service 401 invalid_token.*DPoP' \
        openid_client dpop-as-bearer scanner-es256
    refuses openid-client "Keycloak: token of its default typ, JWT" 'service 401 invalid_token.*`typ`' \
        openid_client dpop scanner-default-typ
    accepts openid-client "Keycloak: mTLS, its certificate" '^authority 200 service 200 .*cnf x5t#S256' \
        openid_client mtls scanner-mtls
    refuses openid-client "Keycloak: mTLS, another certificate" 'service 401 invalid_token.*certificate' \
        openid_client mtls-other-certificate scanner-mtls
    refuses openid-client "Keycloak: mTLS, no certificate" 'service 401 invalid_token.*certificate' \
        openid_client mtls-no-certificate scanner-mtls

    version="$keycloak_version, $(python_version_of requests_oauth2client)"
    accepts requests-oauth2client "Keycloak: DPoP, nonce" '^authority \[200\] service \[401, 200\]$' \
        python_client scanner-es256 ES256
}

# The header of a token of RFC 9068 by that algorithm, as client.mjs shows it, as a pattern.
header_by() {
    echo "\\{\"alg\":\"$1\",\"typ\":\"at\\+jwt\"\\}"
}

# openid_client SCENARIO CLIENT [PROOF_ALG]
openid_client() {
    rm -f "$work/response.json"
    "$node" "$(beside_modules "$here/authority/client.mjs")" "$1" --issuer "$issuer" --resource "$resource" \
        --client-id "$2" --proof-alg "${3-ES256}" --client-secret not-secret \
        --service "$service" --request "$work/request.json" --out "$work/response.json" --ca "$tls/ca.pem" \
        --certificate "$tls/scanner.pem" --key "$tls/scanner.key" \
        --other-certificate "$tls/other.pem" --other-key "$tls/other.key"
}

# python_client CLIENT PROOF_ALG
python_client() {
    rm -f "$work/response.json"
    "$python" "$here/authority/dpop_client.py" "$issuer" "$1" not-secret "$resource" \
        "$service" "$work/request.json" "$work/response.json" "$tls/ca.pem" "$2"
}

# What the last caller got, judged by a verifier that shares no code with the signer.
judge_answer() {
    local version
    version="$(python_version_of securesystemslib)"
    accepts securesystemslib "$1" '^VERIFIED' answer_verified
}

answer_verified() {
    local out="$work/answered"
    mkdir -p "$out"
    curl -sS --fail --cacert "$tls/ca.pem" "$service/api/v1/signer/trust/keys" >"$out/keys.json" &&
        python3 "$here/support/sign_request.py" take "$work/response.json" "$out/keys.json" \
            "$out/envelope.json" "$out/public-key.pem" &&
        "$python" "$here/judges/securesystemslib_verify.py" "$out/envelope.json" "$out/public-key.pem"
}
