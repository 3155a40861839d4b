# Sourced: images signed by real cosign in real registries, judged by that cosign and by the service, side by side.

# judge_registries EXTENDED: true or false.
judge_registries() {
    local on
    make_release_keys
    start_docker_registries
    made revoked
    revoked="$image"
    if $1; then
        start_referrers_registries
        start_zot
    fi
    start_release_service "$(release_by_key)"

    on_docker_registry
    judge_bundles
    judge_ed25519
    judge_simple_signing
    judge_platforms
    judge_storage
    judge_access
    judge_revoked
    if $1; then
        for on in on_referrers_registry on_zot; do
            "$on"
            judge_bundles
            judge_simple_signing
            judge_platforms
        done
        on_pages
        judge_pages
        judge_certificates
    fi
}

# --- what is judged -------------------------------------------------------------------------------------------------

# cosign 3: a Sigstore bundle as a referrer.
judge_bundles() {
    local cosign="$cosign3" format="bundle"
    made "bundle, release key" && sign3 release
    judged "P-256, release key" accepts trusted '"format":"sigstore-bundle","verified":true' --key "$keys/release.pub"
    local signed="$image"
    made "bundle, moved" && at_registry present "$signed" "$image"
    judged "P-256, release key, over another image" refuses untrusted 'another image' --key "$keys/release.pub"
    made "bundle, other key" && sign3 foreign
    judged "P-256, another key" refuses untrusted 'no release key' --key "$keys/release.pub"
    made "bundle, both keys" && sign3 foreign && sign3 release
    judged "P-256, another key and release key" accepts trusted 'no release key' --key "$keys/release.pub"
    made "bundle, RSA" && sign3 rsa
    judged "RSA-3072, release key" accepts trusted '"verified":true' --key "$keys/rsa.pub"
    made "bundle, P-384" && sign3 p384
    why="cosign 3 signs with SHA-384 and verifies with SHA-256" \
        judged "P-384, release key" refuses trusted '"verified":true' --key "$keys/p384.pub"
    made "bundle, attestation" && cosign_does "$cosign3" attest --yes "${offline[@]}" --key "$keys/release.key" \
        --type cyclonedx --predicate "$sbom" "$place@$image"
    why="an SBOM's attestation is no release signature" \
        judged "P-256, release key, SBOM attestation" accepts untrusted 'no release signature' --key "$keys/release.pub"
}

# cosign 3 signs Ed25519ph, and verifies Ed25519.
judge_ed25519() {
    version="$(<"${cosign3%/usr/bin/cosign}/version")"
    made "bundle, Ed25519"
    refuses cosign "its own signature by an Ed25519 key" 'failed to verify signature' \
        "$cosign3" sign --yes "${offline[@]}" --key "$keys/ed25519.key" "$place@$image"
}

# cosign 2: simple signing, at the tag `.sig` and as a referrer.
judge_simple_signing() {
    local cosign="$cosign2" format=".sig tag" signed key
    made "tag, none"
    judged "none" refuses unsigned '"signatures":\[\]' --key "$keys/release.pub"
    made "tag, release key" && sign2 release
    judged "P-256, release key" accepts trusted '"format":"cosign-legacy","verified":true' --key "$keys/release.pub"
    cosign="$cosign3" judged "P-256, release key, of cosign 2" accepts trusted '"verified":true' --key "$keys/release.pub"
    signed="$image"
    made "tag, moved" && at_registry move "$signed" "$image"
    judged "P-256, release key, tag of another image" refuses untrusted 'another image' --key "$keys/release.pub"
    made "tag, forged" && at_registry forge "$signed" "$image"
    judged "P-256, release key, other payload" refuses untrusted 'no release key' --key "$keys/release.pub"
    made "tag, other key" && sign2 foreign
    judged "P-256, another key" refuses untrusted 'no release key' --key "$keys/release.pub"
    for key in rsa:RSA-3072 p384:P-384 ed25519:Ed25519; do
        made "tag, $key" && sign2 "${key%:*}"
        judged "${key#*:}, release key" accepts trusted '"verified":true' --key "$keys/${key%:*}.pub"
    done
    made "tag, attestation" && cosign_does "$cosign2" attest --yes --tlog-upload=false --key "$keys/release.key" \
        --type cyclonedx --predicate "$sbom" "$place@$image"
    format=".att tag" judged "P-256, release key, SBOM attestation" refuses unsigned '"signatures":\[\]' --key "$keys/release.pub"

    format="OCI 1.1"
    local -x COSIGN_EXPERIMENTAL=1
    made "OCI 1.1, release key" && sign2 release --registry-referrers-mode=oci-1-1
    judged "P-256, release key" accepts trusted '"format":"cosign-oci11","verified":true' \
        --experimental-oci11 --key "$keys/release.pub"
    made "OCI 1.1, other key" && sign2 foreign --registry-referrers-mode=oci-1-1
    judged "P-256, another key" refuses untrusted '"format":"cosign-oci11".*no release key' \
        --experimental-oci11 --key "$keys/release.pub"
}

# An index with two platforms, signed alone and with what it lists.
judge_platforms() {
    local cosign format index image platform
    for cosign in "$cosign3" "$cosign2"; do
        format=bundle
        [[ $cosign == "$cosign3" ]] || format=".sig tag"
        read -r index platform _ <<<"$(at_registry index "alone, $format")"
        image="$index" sign_by "$cosign" release
        image="$index" judged "P-256, index of platforms" accepts trusted '"verified":true' --key "$keys/release.pub"
        image="$platform" judged "P-256, platform of a signed index" refuses unsigned '"signatures":\[\]' --key "$keys/release.pub"
        read -r index platform _ <<<"$(at_registry index "recursive, $format")"
        image="$index" sign_by "$cosign" release --recursive
        image="$platform" judged "P-256, platform, signed with -r" accepts trusted '"verified":true' --key "$keys/release.pub"
    done
}

# A registry whose disk holds other bytes than it says.
judge_storage() {
    local cosign="$cosign2" format=".sig tag"
    made "tag, rotten" && sign2 release
    python3 "$here/support/images.py" rot "$work/docker-registry/data" "$image" "http://$registry" "$repository"
    judged "P-256, payload changed on the disk" refuses registry_error 'another digest' --key "$keys/release.pub"
}

# The same storage behind TLS and authentication.
judge_access() {
    local cosign="$cosign3" format=bundle plain="$registry_name"
    local by=(--key "$keys/release.pub" --registry-cacert "$tls/ca.pem")
    local login=(--registry-username scanner --registry-password not-secret)
    made "bundle, access" && sign3 release
    registry_name="$plain, TLS, Basic"
    place="$behind_basic/$repository" judged "P-256, release key" accepts trusted '"verified":true' "${by[@]}" "${login[@]}"
    place="localhost:${behind_basic#*:}/$repository" judged "P-256, release key, wrong password" fails registry_error 401 \
        "${by[@]}" --registry-username scanner --registry-password wrong
    registry_name="$plain, TLS, token"
    place="$behind_token/$repository" judged "P-256, release key" accepts trusted '"verified":true' "${by[@]}" "${login[@]}"
    place="localhost:${behind_token#*:}/$repository" judged "P-256, release key, no password" fails registry_error 401 "${by[@]}"
    registry_name="$plain, TLS, other CA"
    place="$behind_other_ca/$repository" judged "P-256, release key" fails registry_error certificate "${by[@]}"
    registry_name="$plain"
}

# A registry that tells of one referrer at a time. cosign takes the first page for all of them.
judge_pages() {
    local cosign="$cosign3" format=bundle
    made "pages, release key" && sign3 release
    judged "P-256, release key" accepts trusted '"format":"sigstore-bundle","verified":true' --key "$keys/release.pub"
    made "pages, other keys" && sign3 foreign && sign3 foreign
    judged "P-256, another key twice" refuses untrusted 'no release key.*no release key' --key "$keys/release.pub"
    made "pages, last" && sign3 foreign && sign3 foreign && sign3 release
    why="cosign reads the first page alone" \
        judged "P-256, another key twice, then release key" refuses trusted \
        'no release key.*no release key.*"verified":true' --key "$keys/release.pub"
    cosign="$cosign2" format="OCI 1.1"
    local -x COSIGN_EXPERIMENTAL=1
    made "pages, OCI 1.1" && sign2 foreign --registry-referrers-mode=oci-1-1 && sign2 release --registry-referrers-mode=oci-1-1
    why="cosign reads the first page alone" \
        judged "P-256, another key, then release key" refuses trusted '"verified":true' \
        --experimental-oci11 --key "$keys/release.pub"
}

judge_revoked() {
    local cosign="$cosign3" format=bundle image="$revoked"
    sign3 release
    why="the image is in release.revoked" \
        judged "P-256, release key, revoked image" accepts untrusted 'revoked' --key "$keys/release.pub"
}

# --- keys, images, signatures ---------------------------------------------------------------------------------------

# Release keys of each kind, another key, and what keeps cosign offline; sets `$keys`, their folder, and `$offline`.
make_release_keys() {
    keys="$work/keys"
    mkdir -p "$keys"
    offline=(--signing-config "$keys/no-log.json" --trusted-root "$keys/no-root.json")
    local kind
    (
        export HOME="$work" COSIGN_PASSWORD=""
        cd "$keys"
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out rsa.pem
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem
        openssl genpkey -algorithm ED25519 -out ed25519.pem
        for kind in rsa p384 ed25519; do
            "$cosign3" import-key-pair --key "$kind.pem" --output-key-prefix "$kind"
        done
        "$cosign3" generate-key-pair --output-key-prefix release
        "$cosign3" generate-key-pair --output-key-prefix foreign
        "$cosign3" signing-config create --out no-log.json
        "$cosign3" trusted-root create --out no-root.json
    ) >"$keys/log" 2>&1 || fail "$(<"$keys/log")"
}

# on_registry NAME HOST:PORT LISTING: where images are from now on, and by what the service must have found their referrers.
on_registry() {
    registry_name="$1"
    registry="$2"
    place="$registry/$repository"
    listing="$3"
}

on_docker_registry() {
    local version
    version="$("$registry_server" --version | grep -oE '[0-9]+[.][0-9.]+[0-9]' | sed -n 1p)"
    on_registry "docker-registry $version" "$docker" referrers-tag
}

on_referrers_registry() {
    on_registry "go-containerregistry $referrers_registry_version" "$with_referrers" referrers-api
}

on_pages() {
    on_registry "go-containerregistry, one a page" "$with_pages" referrers-api
}

on_zot() {
    on_registry "zot $zot_version" "$with_zot" referrers-api
}

at_registry() {
    local command="$1"
    shift
    python3 "$here/support/images.py" "$command" "http://$registry" "$repository" "$@"
}

# made TEXT: pushes an image of its own; sets `$image`.
made() {
    image="$(at_registry push "$1")"
}

sign3() { sign_by "$cosign3" "$@"; }
sign2() { sign_by "$cosign2" "$@"; }

# sign_by COSIGN KEY OPTION…: signs `$image` by key, without any service.
sign_by() {
    local program="$1" key="$keys/$2.key" quietly=(--tlog-upload=false)
    shift 2
    [[ $program != "$cosign3" ]] || quietly=("${offline[@]}")
    cosign_does "$program" sign --yes "${quietly[@]}" --key "$key" "$@" "$place@$image"
}

# What went wrong is printed; what it leads to is in the row.
cosign_does() {
    HOME="$work" COSIGN_PASSWORD="" "$@" >"$work/cosign.log" 2>&1 </dev/null || cat "$work/cosign.log"
}

# --- verdicts -------------------------------------------------------------------------------------------------------

matrix=()

# What cosign says of signatures that do not hold; whatever else it says, it came to no verdict.
refusals='no (matching )?signatures|no matching attestations|no matching CertificateIdentity|none of the expected identities matched'

# Nothing is in a log but what judge_log_entries puts there.
ignoring_log=(--insecure-ignore-tlog)

# judged MATERIAL COSIGN WE PATTERN OPTION…: a row about `$image` at `$place`, whose signature has `$format`: what `$cosign` says
# with these options, and what the service says, in which PATTERN is found. Both as wanted; they agree unless `$why` says why not.
judged() {
    local material="$1" wanted="$2 $3" pattern="$4" theirs ours answer agree=yes result=ok
    shift 4
    if HOME="$work" "$cosign" verify "${ignoring_log[@]}" "$@" "$place@$image" >"$work/cosign.log" 2>&1 </dev/null; then
        theirs=accepts
    elif grep -qE "$refusals" "$work/cosign.log"; then
        theirs=refuses
    else
        theirs=fails
    fi
    answer="$(referrers_of "$image" "$place")" || true
    # Callers are not told what the doubt is; operators are.
    [[ $answer != *registry_error* ]] || answer+="$(doubt_about "$image" "$place")"
    ours="$(grep -oE '"(verdict|code)":"[a-z_]+"' <<<"$answer" | sed -n '1s/.*:"\(.*\)"/\1/p')"
    case "$theirs $ours" in
        "accepts trusted" | "refuses untrusted" | "refuses unsigned" | "fails registry_error" | "refuses registry_error") ;;
        *) agree="no: ${why-}" ;;
    esac
    if [[ "$theirs $ours" != "$wanted" || $agree == "no: " ]] || ! grep -qE "$pattern" <<<"$answer" ||
        [[ $ours != registry_error && $answer != *"\"sources\":[\"$listing\""* ]]; then
        result=FAILED
    fi
    if [[ $result == ok ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s, %s: wanted "%s" with %s, got "%s"; cosign said:\n%s\nthe service said:\n%s\n' \
            "$registry_name" "$material" "$wanted" "$pattern" "$theirs $ours" "$(<"$work/cosign.log")" "$answer"
    fi
    local cosign_version
    cosign_version="$(<"${cosign%/usr/bin/cosign}/version")"
    matrix+=("$(matrix_row "$registry_name" "${cosign_version%%-*}" "$material" "$format" "$theirs" "$ours" "$agree" "$result")")
}

# doubt_about DIGEST REPOSITORY: the last line of the service's log about an image there; it may come after the answer.
doubt_about() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        if grep "no verdict.*$1.*reason: $2:" "$service_log" | tail -n 1 | grep .; then
            return
        fi
        sleep 0.1
    done
}

matrix_row() {
    printf '%-36s %-7s %-47s %-9s %-12s %-15s %-6s %s' "$1" "$2" "$3" "$4" "$5" "$6" "$8" "$7"
}

print_matrix() {
    printf '\n%s\n' "$(matrix_row registry cosign "signed by" format "cosign says" "we say" agree result)"
    printf '%s\n' "${matrix[@]}"
}
