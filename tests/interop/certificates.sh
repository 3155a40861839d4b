# Sourced: images signed with certificates of a real Fulcio, with and without timestamps of a real authority.

# Fulcio's issuers of type `uri` speak for subjects of their own host.
release_identity="http://127.0.0.1/release"
other_identity="http://127.0.0.1/another"

# On the registries that judge_registries started. cosign's trust and the service's configuration are about the same keys.
judge_certificates() {
    start_sigstore
    start_release_service "$(release_by_identity)"
    local lenient=("$service" "$service_log")
    local by3=(--insecure-ignore-sct --certificate-identity "$release_identity" --certificate-oidc-issuer "$release_issuer")
    local by2=("${by3[@]}" --ca-roots "$sigstore/root.pem" --ca-intermediates "$sigstore/intermediate.pem"
        --timestamp-certificate-chain "$sigstore/tsa.pem")
    by3+=(--trusted-root "$sigstore/root.json")
    local by3_key=(--trusted-root "$sigstore/root.json" --key "$keys/release.pub")

    on_docker_registry
    judge_identities
    local on
    for on in on_referrers_registry on_zot; do
        "$on"
        sign_short_lived
        judge_identities
        judge_strictly
        judge_expired
        judge_strange_timestamps
        service="${lenient[0]}" service_log="${lenient[1]}"
    done
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

# With a service that wants a timestamp and a proof from the log, and cosign 3 told the same; Rekor v2 is for cosign 3 alone.
judge_strictly() {
    local cosign="$cosign3" format=bundle ignoring_log=() witnesses=(--use-signed-timestamps)
    made "log, certificate" && certified_by "$cosign3" logged "$release_issuer" "$release_identity"
    start_release_service "$(log_key="$keys/ed25519.pub" release_by_identity timestamp inclusion)"
    judged "Fulcio, timestamp, entry in another log; wanted" refuses untrusted 'log' "${by3[@]}" "${witnesses[@]}" \
        --trusted-root "$sigstore/other-log-root.json"
    start_release_service "$(release_by_identity timestamp inclusion)"
    judged "Fulcio, timestamp, entry in Rekor; wanted" accepts trusted '"kind":"certificate"' "${by3[@]}" "${witnesses[@]}"
    made "log, key" && signed_with_services logged
    judged "P-256, the same; wanted" accepts trusted '"kind":"key"' "${by3_key[@]}" "${witnesses[@]}"
    made "log, none" && certified_by "$cosign3" timestamped "$release_issuer" "$release_identity"
    judged "Fulcio, timestamp; entry wanted" refuses untrusted 'log' "${by3[@]}" "${witnesses[@]}"
    made "log, no key" && signed_with_services timestamped
    judged "P-256, timestamp; entry wanted" refuses untrusted 'log' "${by3_key[@]}" "${witnesses[@]}"
    ignoring_log=(--insecure-ignore-tlog)
    start_release_service "$(release_by_identity timestamp)"
    made "timestamp, key" && signed_with_services timestamped
    judged "P-256, timestamp; wanted" accepts trusted '"kind":"key"' "${by3_key[@]}" "${witnesses[@]}"
    made "timestamp, none" && certified_by "$cosign3" plain "$release_issuer" "$release_identity"
    judged "Fulcio; timestamp wanted" refuses untrusted 'timestamp' "${by3[@]}" "${witnesses[@]}"
    service="${lenient[0]}" service_log="${lenient[1]}"
}

# Signs with a certificate that Fulcio's CA issued for seconds; judge_expired looks when they are over.
sign_short_lived() {
    local key signing
    short="$(mktemp -d "$sigstore/short.XXXX")"
    key="$short/key"
    short_lived_ends="$("$python" "$here/support/short_lived.py" "$sigstore/fulcio.pem" "$sigstore/intermediate.key" not-secret \
        "$release_issuer" "$release_identity" 30 "$key")"
    cosign_does "$cosign3" import-key-pair --key "$key.key" --output-key-prefix "$key-cosign"
    short_lived=()
    for signing in "$cosign3 "{plain,timestamped} "$cosign2 "{plain,timestamped}; do
        sign_by_short_lived $signing
        short_lived+=("$image")
    done
}

# sign_by_short_lived COSIGN plain|timestamped: an image of its own.
sign_by_short_lived() {
    made "short-lived, $1 $2 $SECONDS"
    certificate_options "$1" "$2"
    [[ $1 == "$cosign3" ]] || options+=(--certificate-chain "$sigstore/fulcio.pem")
    cosign_does "$1" sign --yes "${options[@]}" --key "$short/key-cosign.key" --certificate "$short/key.pem" \
        "$place@$image"
}

judge_expired() {
    local cosign="$cosign3" format=bundle
    while (($(date +%s) <= short_lived_ends)); do
        sleep 0.2
    done
    judge_expired_by "${short_lived[@]:0:2}" "${by3[@]}"
    cosign="$cosign2" format=".sig tag"
    judge_expired_by "${short_lived[@]:2}" "${by2[@]}"
    sign_by_short_lived "$cosign2" timestamped
    judged "CA of Fulcio, expired, timestamp afterwards" refuses untrusted 'expired' "${by2[@]}" --use-signed-timestamps
}

# judge_expired_by PLAIN TIMESTAMPED OPTION…: two images.
judge_expired_by() {
    local plain="$1" timestamped="$2"
    shift 2
    image="$plain" judged "CA of Fulcio, expired, no timestamp" refuses untrusted 'expired' "$@"
    image="$timestamped" judged "CA of Fulcio, expired, timestamp" accepts trusted '"kind":"certificate"' \
        "$@" --use-signed-timestamps
}

# The same images, while another timestamp authority is believed.
judge_strange_timestamps() {
    local cosign="$cosign3" format=bundle options=(--insecure-ignore-sct --certificate-identity "$release_identity"
        --certificate-oidc-issuer "$release_issuer" --use-signed-timestamps)
    start_release_service "$(timestamp_roots=strange-tsa.pem release_by_identity)"
    image="${short_lived[1]}" judged "CA of Fulcio, expired, timestamp of no root" refuses untrusted 'timestamp' \
        "${options[@]}" --trusted-root "$sigstore/strange-root.json"
    cosign="$cosign2" format=".sig tag"
    image="${short_lived[3]}" judged "CA of Fulcio, expired, timestamp of no root" refuses untrusted 'timestamp' \
        "${options[@]}" --ca-roots "$sigstore/root.pem" --ca-intermediates "$sigstore/intermediate.pem" \
        --timestamp-certificate-chain "$sigstore/strange-tsa.pem"
}

# --- signing --------------------------------------------------------------------------------------------------------

# signed_with_services plain|timestamped|logged: signs `$image` by the release key with cosign 3.
signed_with_services() {
    certificate_options "$cosign3" "$1"
    cosign_does "$cosign3" sign --yes "${options[@]}" --key "$keys/release.key" "$place@$image"
}

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

# release_by_identity WITNESS…: the section `[release]` for images signed with certificates, or by the release key, which need
# these witnesses. Believed are timestamps of `$timestamp_roots` and the log of `$log_key`, or else those that are there.
release_by_identity() {
    python3 - "$keys" "$repository" "$docker" "$with_referrers" "$with_zot" "$release_issuer" "$release_identity" \
        "$sigstore" "${timestamp_roots-tsa.pem}" "${log_key-$sigstore/rekor.pub}" "$@" <<'END'
import json, sys
keys, name, *hosts, issuer, subject, sigstore, timestamp_roots, log = sys.argv[1:11]
witnesses = sys.argv[11:]
print(json.dumps({
    "repositories": [f"{host}/{name}" for host in hosts],
    "plain_http": hosts,
    "private_networks": ["127.0.0.0/8"],
    "keys": [f"{keys}/release.pub"],
    "roots": f"{sigstore}/fulcio.pem",
    "identities": [{"issuer": issuer, "subject": subject}],
    "timestamp_roots": f"{sigstore}/{timestamp_roots}",
    "logs": [{"key": log, "origin": "127.0.0.1"}],
    "require": witnesses,
}))
END
}
