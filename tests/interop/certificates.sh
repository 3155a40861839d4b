# Sourced: images signed with certificates of a real Fulcio, with and without timestamps of a real authority.

# Fulcio's issuers of type `uri` speak for subjects of their own host.
release_identity="http://127.0.0.1/release"
other_identity="http://127.0.0.1/another"

# On the registries that judge_registries started.
judge_certificates() {
    start_sigstore
    start_release_service "$(release_by_identity)"
    local by3=(--insecure-ignore-sct --certificate-identity "$release_identity" --certificate-oidc-issuer "$release_issuer")
    local by2=("${by3[@]}" --ca-roots "$sigstore/root.pem" --ca-intermediates "$sigstore/intermediate.pem"
        --timestamp-certificate-chain "$sigstore/tsa.pem")
    by3+=(--trusted-root "$sigstore/root.json")

    on_referrers_registry
    sign_short_lived
    judge_identities
    judge_log_entries
    on_docker_registry
    judge_identities
    on_referrers_registry
    judge_expired
}

# --- what is judged -------------------------------------------------------------------------------------------------

judge_identities() {
    judge_identities_by "$cosign3" bundle "${by3[@]}"
    judge_identities_by "$cosign2" ".sig tag" "${by2[@]}"
}

judge_identities_by() {
    local cosign="$1" format="$2"
    shift 2
    made "$format, certificate" && certified_by "$cosign" plain "$release_issuer" "$release_identity"
    judged "Fulcio, no timestamp" accepts trusted '"kind":"certificate"' "$@"
    made "$format, timestamp" && certified_by "$cosign" timestamped "$release_issuer" "$release_identity"
    judged "Fulcio, timestamp" accepts trusted '"kind":"certificate"' "$@" --use-signed-timestamps
    made "$format, identity" && certified_by "$cosign" plain "$release_issuer" "$other_identity"
    judged "Fulcio, another identity" refuses untrusted 'no release identity' "$@"
    made "$format, issuer" && certified_by "$cosign" plain "$other_issuer" "$release_identity"
    judged "Fulcio, another issuer" refuses untrusted 'no release identity' "$@"
    made "$format, root" && certified_by "$cosign" foreign "$release_issuer" "$release_identity"
    judged "Fulcio of another root" refuses untrusted 'no release root' "$@"
}

# Rekor v2, which cosign 3 alone speaks. cosign asks for the entry here; the service has no log configured.
judge_log_entries() {
    local cosign="$cosign3" format=bundle ignoring_log=()
    made "log, certificate" && certified_by "$cosign3" logged "$release_issuer" "$release_identity"
    judged "Fulcio, timestamp, entry in Rekor" accepts trusted '"kind":"certificate"' "${by3[@]}" --use-signed-timestamps
    made "log, key" && cosign_does "$cosign3" sign --yes --signing-config "$sigstore/logged.json" \
        --trusted-root "$sigstore/root.json" --key "$keys/release.key" "$place@$image"
    judged "P-256, release key, entry in Rekor" accepts trusted '"kind":"key"' \
        --trusted-root "$sigstore/root.json" --use-signed-timestamps --key "$keys/release.pub"
}

# Signs with a certificate that Fulcio's CA issued for seconds; judge_expired looks when they are over.
sign_short_lived() {
    local key="$sigstore/short" signing
    short_lived_ends="$("$python" "$here/support/short_lived.py" "$sigstore/fulcio.pem" "$sigstore/intermediate.key" not-secret \
        "$release_issuer" "$release_identity" 30 "$key")"
    cosign_does "$cosign3" import-key-pair --key "$key.key" --output-key-prefix "$key-cosign"
    short_lived=()
    for signing in "$cosign3 plain" "$cosign3 timestamped" "$cosign2 plain" "$cosign2 timestamped"; do
        made "short-lived, $signing"
        short_lived+=("$image")
        certificate_options $signing
        [[ $signing != "$cosign2"* ]] || options+=(--certificate-chain "$sigstore/fulcio.pem")
        cosign_does "${signing% *}" sign --yes "${options[@]}" --key "$key-cosign.key" --certificate "$key.pem" "$place@$image"
    done
}

judge_expired() {
    local cosign="$cosign3" format=bundle
    while (($(date +%s) <= short_lived_ends)); do
        sleep 0.2
    done
    image="${short_lived[0]}" judged "CA of Fulcio, expired, no timestamp" refuses untrusted 'expired' "${by3[@]}"
    image="${short_lived[1]}" judged "CA of Fulcio, expired, timestamp" accepts trusted '"kind":"certificate"' \
        "${by3[@]}" --use-signed-timestamps
    cosign="$cosign2" format=".sig tag"
    image="${short_lived[2]}" judged "CA of Fulcio, expired, no timestamp" refuses untrusted 'expired' "${by2[@]}"
    image="${short_lived[3]}" judged "CA of Fulcio, expired, timestamp" accepts trusted '"kind":"certificate"' \
        "${by2[@]}" --use-signed-timestamps
}

# --- signing --------------------------------------------------------------------------------------------------------

# certified_by COSIGN plain|timestamped|logged|foreign ISSUER SUBJECT: signs `$image` with a certificate of Fulcio about
# that subject.
certified_by() {
    get_identity_token "$3" "$4"
    certificate_options "$1" "$2"
    cosign_does "$1" sign --yes "${options[@]}" --identity-token "$identity_token" "$place@$image"
}

# certificate_options COSIGN plain|timestamped|logged|foreign: with which services that cosign signs; sets `$options`.
certificate_options() {
    local root="$sigstore/root.json" url="$fulcio_url"
    if [[ $2 == foreign ]]; then
        root="$sigstore/foreign-root.json" url="$foreign_fulcio_url"
    fi
    if [[ $1 == "$cosign3" ]]; then
        options=(--signing-config "$sigstore/$2.json" --trusted-root "$root")
        return
    fi
    options=(--tlog-upload=false --fulcio-url "$url" --insecure-skip-verify)
    [[ $2 != timestamped ]] || options+=(--timestamp-server-url "$tsa_url/api/v1/timestamp")
}

# The section `[release]` for images signed with certificates, or by the release key.
release_by_identity() {
    python3 - "$keys" "$repository" "$docker" "$with_referrers" "$release_issuer" "$release_identity" "$sigstore" <<'END'
import json, sys
keys, name, docker, with_referrers, issuer, subject, sigstore = sys.argv[1:]
print(json.dumps({
    "repositories": [f"{host}/{name}" for host in (docker, with_referrers)],
    "plain_http": [docker, with_referrers],
    "private_networks": ["127.0.0.0/8"],
    "keys": [f"{keys}/release.pub"],
    "roots": f"{sigstore}/fulcio.pem",
    "identities": [{"issuer": issuer, "subject": subject}],
}))
END
}
