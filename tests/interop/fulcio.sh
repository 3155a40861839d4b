# Sourced: the service signs without keys of its own, with certificates of a real Fulcio that writes to a certificate
# transparency log. Whatever it signs, verifiers that share no code with it judge.

signer_identity="http://127.0.0.1/signer"
signer_mail="signer@stellaops.example"

# After start_keyless: each way to the identity token, and a type of issuer for which Fulcio wants another claim signed.
judge_fulcio() {
    local sigstore="$keyless" way
    start_fulcio with-fulcio "${keyless_options[@]}"
    keyless_fulcio="$listening"
    trust_keyless
    for way in endpoint file mail; do
        keyless_table "$way" '{}'
        start_keyless_service
        sign_keyless "$way"
        judge_keyless "$way"
        [[ $way != endpoint ]] || judge_reuse
        stop "$backend_pid"
    done
    judge_fulcio_checks
}

# judge_keyless WAY: the bundle of sign_keyless, by Fulcio's own files.
judge_keyless() {
    local what="Fulcio, token by $1" out="$work/keyless-$1" subject="$signer_identity" issuer="$keyless_issuer" root program
    [[ $1 != mail ]] || subject="$signer_mail" issuer="$mail_issuer"
    local by=(--certificate-identity "$subject" --certificate-oidc-issuer "$issuer")
    local other=(--certificate-identity http://127.0.0.1/another --certificate-oidc-issuer "$issuer")
    for program in "$cosign3" "$cosign2"; do
        version="$(<"${program%/usr/bin/cosign}/version")"
        for root in fulcio trust; do
            accepts cosign "$what, by the roots of $root" '^Verified OK' \
                keyless_cosign "$program" "$root" bundle.sigstore "${by[@]}"
        done
        refuses cosign "$what, tampered" 'do not match threshold' \
            keyless_cosign "$program" fulcio tampered-bundle "${by[@]}"
        refuses cosign "$what, another identity" 'no matching CertificateIdentity' \
            keyless_cosign "$program" fulcio bundle.sigstore "${other[@]}"
        refuses cosign "$what, another root" 'certificate signed by unknown authority|leaf certificate verification failed' \
            keyless_cosign "$program" another bundle.sigstore "${by[@]}"
        refuses cosign "$what, another log" 'SCT|signed certificate timestamp' \
            keyless_cosign "$program" another-log bundle.sigstore "${by[@]}"
    done

    version="$(npm_version_of @sigstore/verify)"
    local js=(--issuer "$issuer" --subject "$subject" --sct) root_js=(--trusted-root "$out/trusted_root.json")
    accepts "@sigstore/verify" "$what" '^VERIFIED' sigstore_js "$out/bundle.sigstore.json" "${js[@]}" "${root_js[@]}"
    refuses "@sigstore/verify" "$what, tampered" 'signature verification failed' \
        sigstore_js "$out/tampered-bundle.json" "${js[@]}" "${root_js[@]}"
    refuses "@sigstore/verify" "$what, another identity" 'UNTRUSTED_SIGNER_ERROR' \
        sigstore_js "$out/bundle.sigstore.json" "${js[@]}" "${root_js[@]}" --subject http://127.0.0.1/another
    refuses "@sigstore/verify" "$what, another root" '^NOT VERIFIED' \
        sigstore_js "$out/bundle.sigstore.json" "${js[@]}" --trusted-root "$keyless/another.json"

    version="$(openssl version | cut -d' ' -f2)"
    accepts "openssl verify" "$what, chain" 'leaf.pem: OK' openssl_chain "$out" "$keyless/root.pem"
    refuses "openssl verify" "$what, another root" 'unable to get' openssl_chain "$out" "$keyless/strange.pem"
    accepts "openssl x509" "$what, the identity" ":$subject\$" openssl x509 -in "$out/leaf.pem" -noout -ext subjectAltName
    accepts "openssl dgst" "$what" '^Verified OK' openssl_verify "$out" envelope leaf-key
    refuses "openssl dgst" "$what, tampered" '^Verification failure' openssl_verify "$out" tampered-envelope leaf-key

    version="$("$signer" --version | cut -d' ' -f2)"
    local ours=("$signer" verify --trust "$out/trusted_root.json")
    accepts signer "$what" '^verified' "${ours[@]}" "$out/bundle.sigstore.json" "${by[@]}"
    refuses signer "$what, tampered" 'signature' "${ours[@]}" "$out/tampered-bundle.json" "${by[@]}"
    refuses signer "$what, another identity" 'is not the expected identity' "${ours[@]}" "$out/bundle.sigstore.json" "${other[@]}"
    refuses signer "$what, another root" 'root|trust' \
        "$signer" verify --trust "$keyless/another.json" "$out/bundle.sigstore.json" "${by[@]}"
}

# keyless_cosign PROGRAM ROOT BUNDLE OPTION…: with promises of the certificate log, by the roots of that name. Needs `$out`.
keyless_cosign() {
    local program="$1" root="$keyless/$2.json" bundle="$3"
    shift 3
    [[ $root != */trust.json ]] || root="$out/trusted_root.json"
    "$program" verify-blob-attestation --bundle "$out/$bundle.json" --new-bundle-format --trusted-root "$root" \
        --insecure-ignore-tlog --type "$predicate_type" "$@" "$sbom"
}

# Certificates of Fulcio are for signing code, which OpenSSL 3.0 has no purpose for.
openssl_chain() {
    openssl verify -x509_strict -purpose any -CAfile "$2" -untrusted "$keyless/intermediate.pem" "$1/leaf.pem"
}

# Many signatures, one key.
judge_reuse() {
    local out="$work/keyless-many" number
    mkdir -p "$work/many"
    for number in {1..20}; do
        cp "$sbom" "$work/many/$number.cdx.json"
    done
    version="$fulcio_version"
    accepts Fulcio "20 signatures" 'signed|bundle' "$signer" sign --credentials "$backend_credentials" --mode keyless \
        --out "$out" "$work"/many/*.cdx.json
    accepts Fulcio "20 signatures, one certificate" '^20 by 1$' python3 -c 'import json, pathlib, sys
answers = [json.loads(file.read_text()) for file in pathlib.Path(sys.argv[1]).rglob("response.json")]
print(len(answers), "by", len({answer["bundle"]["certificateChain"][0] for answer in answers}))' "$out"
}

# What `signer check` says of a Fulcio that is right, and of what may be wrong with it.
judge_fulcio_checks() {
    local what change pattern
    while IFS='|' read -r what change pattern; do
        keyless_table endpoint "$change"
        accepts "signer check" "Fulcio: $what" "$pattern" check_keyless
    done <<END
as it should be|{}|\[ok\].*keyless
wrong client secret|{"token_client_secret": "file:$keyless/wrong.secret"}|answered 401: invalid_client
no token endpoint there|{"token_url": "http://127.0.0.1:$(free_port)/token"}|the token endpoint cannot be reached
token for another audience|{"token_resource": "urn:stellaops:signer"}|Fulcio answered 40[0-9]
another identity than expected|{"expect_subject": "http://127.0.0.1/another"}|another subject
another issuer than expected|{"expect_issuer": "http://127.0.0.1:1"}|another issuer
another root|{"roots": "$keyless/strange.pem"}|no valid path to a configured root
another certificate log|{"ct_keys": ["$keyless/another-log.pub"]}|of a log that is not configured
nobody there|{"url": "http://127.0.0.1:$(free_port)"}|Fulcio cannot be reached
END
    keyless_table endpoint '{}'
    echo '+3600' >"$work/clock"
    accepts "signer check" "Fulcio: our clock an hour ahead" 'keyless: .*certificate has expired' with_clock check_keyless
    echo '-3600' >"$work/clock"
    accepts "signer check" "Fulcio: our clock an hour behind" 'keyless: .*certificate is not yet valid' with_clock check_keyless
}

# --- the service ----------------------------------------------------------------------------------------------------

# keyless_table endpoint|file|mail CHANGES: sets `$keyless_table`, a file with the backend, with these members changed.
keyless_table() {
    keyless_table="$keyless/table.json"
    [[ $1 != file ]] || get_identity_token "$keyless_issuer" "$signer_identity"
    python3 - "$keyless" "$1" "${keyless_fulcio-}" "$keyless_issuer" "$mail_issuer" "$signer_identity" "$signer_mail" \
        "$2" >"$keyless_table" <<'END'
import json, sys
folder, way, url, issuer, mail_issuer, subject, mail, changes = sys.argv[1:]
table = {"url": url, "roots": f"{folder}/fulcio.pem", "ct_keys": [f"{folder}/log.pub"], "require_sct": True}
issuer, expected = (mail_issuer, mail) if way == "mail" else (issuer, subject)
table |= {"expect_issuer": issuer, "expect_subject": expected}
if way == "file":
    table["identity_token"] = f"file:{folder}/token"
else:
    table |= {"token_url": f"{issuer}/token", "token_client_id": subject, "token_resource": "urn:sigstore",
              "token_client_secret": f"file:{folder}/client.secret"}
print(json.dumps(table | json.loads(changes)))
END
}

# A service with that table; sets `$service`, `$backend_pid`, `$backend_credentials` and `$backend_log`.
start_keyless_service() {
    local folder
    folder="$(mktemp -d "$work/keyless-service.XXXX")"
    make_keyless_service "$folder"
    "$signer" serve --config "$folder/signer.toml" >"$folder/out" 2>"$folder/log" &
    backend_pid=$!
    pids+=("$backend_pid")
    wait_for "$folder/out" '"ready":true' "$folder/log"
    backend_log="$folder/log"
    backend_credentials="$folder/credentials.json"
}

# make_keyless_service FOLDER: its configuration; sets `$service`.
make_keyless_service() {
    service="$(python3 "$here/fulcio/service.py" "$(place_of configuration)" "$dev/credentials.json" "$1" "$keyless_table")" ||
        fail "service.py failed"
}

check_keyless() {
    local folder
    folder="$(mktemp -d "$work/keyless-check.XXXX")"
    make_keyless_service "$folder"
    "$signer" check --config "$folder/signer.toml" || true
}

# sign_keyless NAME: the example; what judges need is in "$work/keyless-NAME".
sign_keyless() {
    local out="$work/keyless-$1"
    "$signer" sign --credentials "$backend_credentials" --mode keyless --out "$out" "$sbom" >"$out.log" 2>&1 ||
        { cat "$out.log"; fail "the service did not sign with Fulcio"; }
    python3 "$here/support/tamper.py" "$out/envelope.json" "$out/tampered-envelope.json"
    python3 "$here/support/tamper.py" "$out/bundle.sigstore.json" "$out/tampered-bundle.json"
    python3 -c 'import base64, json, ssl, sys
bundle = json.load(open(sys.argv[1]))
leaf = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
open(sys.argv[2], "w").write(ssl.DER_cert_to_PEM_cert(leaf))' "$out/bundle.sigstore.json" "$out/leaf.pem"
    openssl x509 -in "$out/leaf.pem" -noout -pubkey >"$out/leaf-key.pem"
}

# --- what it needs --------------------------------------------------------------------------------------------------

# After make_certificates: a CA, a certificate log, two issuers and Fulcio's configuration; sets `$keyless`, their folder.
start_keyless() {
    keyless="$work/with-fulcio"
    mkdir -p "$keyless"
    local sigstore="$keyless" issuer resource name
    make_fulcio_chain
    make_strange_chain
    for name in log another-log; do
        openssl ecparam -name prime256v1 -genkey -noout -outform DER -out "$keyless/$name.der" 2>/dev/null
        openssl ec -inform DER -in "$keyless/$name.der" -pubout -out "$keyless/$name.pub" 2>/dev/null
    done
    openssl pkey -pubin -in "$keyless/log.pub" -outform DER -out "$keyless/log.pub.der"
    "$ct_log" "$keyless/root.pem" "$keyless/log.der" "$keyless/log.pub.der" >"$keyless/log.out" 2>"$keyless/log.log" &
    pids+=($!)
    wait_for "$keyless/log.out" 'listening on' "$keyless/log.log"
    ct_log_url="http://$(awk '{ print $3 }' "$keyless/log.out")/log"
    start_authority --subject "$signer_identity" --mail "$signer_mail"
    keyless_issuer="$issuer"
    start_authority --subject "$signer_identity" --mail "$signer_mail"
    mail_issuer="$issuer"
    (umask 077 && printf not-secret >"$keyless/client.secret" && printf wrong >"$keyless/wrong.secret")
    printf 'oidc-issuers:\n  %s: %s\n  %s: %s\n' \
        "$keyless_issuer" "{ issuer-url: \"$keyless_issuer\", client-id: sigstore, type: uri, subject-domain: \"http://127.0.0.1\" }" \
        "$mail_issuer" "{ issuer-url: \"$mail_issuer\", client-id: sigstore, type: email }" >"$keyless/config.yaml"
    keyless_options=(--ca fileca --fileca-cert "$keyless/fulcio.pem" --fileca-key "$keyless/intermediate.key"
        --fileca-key-passwd not-secret --ct-log-url "$ct_log_url" --ct-log-public-key-path "$keyless/log.pub")
}

# What cosign is to believe, made by cosign of Fulcio's own files: `fulcio`, and `another` and `another-log` besides.
trust_keyless() {
    local start create=("$cosign3" trusted-root create)
    start="start-time=$(date --utc --date '-1 hour' +%FT%TZ)"
    local own="url=$keyless_fulcio,certificate-chain=$keyless/fulcio.pem,$start"
    local log="url=$ct_log_url,$start,public-key=$keyless"
    {
        "${create[@]}" --fulcio "$own" --ctfe "$log/log.pub" --out "$keyless/fulcio.json"
        "${create[@]}" --fulcio "$own" --ctfe "$log/another-log.pub" --out "$keyless/another-log.json"
        "${create[@]}" --fulcio "url=$keyless_fulcio,certificate-chain=$keyless/strange.pem,$start" --ctfe "$log/log.pub" \
            --out "$keyless/another.json"
    } >"$keyless/cosign.log" 2>&1 || fail "$(<"$keyless/cosign.log")"
}

# --- outages --------------------------------------------------------------------------------------------------------

# Early, as they take ten minutes: judge_fulcio_outages collects what they found.
start_fulcio_outages() {
    local what
    outage_pids=()
    for what in renewal short long; do
        outage "$what"
        outage_pids+=("$outage_pid")
    done
}

judge_fulcio_outages() {
    echo "waiting for the end of a certificate of Fulcio's: up to ten minutes"
    wait "${outage_pids[@]}" || true
    judge_outage renewal "certificates of 30 s, renewed ahead of need"
    judge_outage short "away for 3 min, certificate live"
    judge_outage long "away beyond the certificate's end"
}

# outage short|long|renewal: with a Fulcio and a service of its own, in the background; sets `$outage_pid`.
outage() {
    local folder="$work/outage-$1" command
    mkdir -p "$folder"
    cp "$keyless/config.yaml" "$folder/"
    cp "$(place_of configuration)" "$folder/dev.toml"
    cp "$dev/credentials.json" "$folder/dev-credentials.json"
    keyless_table endpoint '{}'
    cp "$keyless_table" "$folder/fulcio.json"
    fulcio_command "$folder" PORT FREE_PORT FREE_PORT "${keyless_options[@]}"
    "$python" "$here/fulcio/outage.py" "$signer" "$1" "$folder" -- "${command[@]}" >"$folder/judged" 2>&1 &
    outage_pid=$!
    pids+=("$outage_pid")
}

outage_figures=()

# judge_outage short|long|renewal WHAT
judge_outage() {
    version="$fulcio_version"
    accepts Fulcio "$2" "^ok $1: " said "$work/outage-$1/judged" "$1"
    outage_figures+=("$(sed -n "s/^ok $1: /Fulcio, $2: /p" "$work/outage-$1/judged")")
}

# What was counted while Fulcio was away.
print_outages() {
    ((${#outage_figures[@]} == 0)) || printf '\n%s\n' "${outage_figures[@]}"
}
