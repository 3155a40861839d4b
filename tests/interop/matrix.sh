# Sourced: every backend, every algorithm, every judge: one table of verdicts.

backend_rows=()

# Keys in files, each algorithm, as judge_openbao and the others have theirs.
judge_files() {
    local key folder="$work/matrix"
    mkdir -p "$folder"
    make_file_key p256 ecdsa-p256-sha256 EC -pkeyopt ec_paramgen_curve:P-256
    make_file_key p384 ecdsa-p384-sha384 EC -pkeyopt ec_paramgen_curve:P-384
    make_file_key ed25519 ed25519 ED25519
    make_file_key pss rsa-pss-sha256 RSA -pkeyopt rsa_keygen_bits:3072
    make_file_key pkcs1 rsa-pkcs1-sha256 RSA -pkeyopt rsa_keygen_bits:3072
    for key in p256 p384 ed25519 pss pkcs1; do
        start_backend_service "file-$key" "$folder/backends.toml"
        sign_there "file-$key"
        stop "$backend_pid"
    done
}

# make_file_key NAME ALGORITHM TYPE OPTION…
make_file_key() {
    local name="$1" algorithm="$2" type="$3"
    shift 3
    (umask 077 && openssl genpkey -quiet -algorithm "$type" "$@" -out "$folder/$name.pem" 2>/dev/null)
    printf '\n[[signing.backends]]\nkind = "file"\nid = "file-%s"\nkey = "file:%s"\nalgorithm = "%s"\n' \
        "$name" "$folder/$name.pem" "$algorithm" >>"$folder/backends.toml"
}

# After all of them: what they signed, by every judge.
judge_backends() {
    judge_files
    local backend folder keys key
    while IFS='|' read -r folder backend keys; do
        for key in $keys; do
            judge_cells "$backend" "$key" "$work/$folder-$key"
        done
    done <<'END'
file|file|p256 p384 ed25519 pss pkcs1
openbao|vault-transit, OpenBao|p256 p384 ed25519 pss pkcs1
hsm|pkcs11, SoftHSM|p256 p384 ed25519 pss pkcs1
kms|aws-kms, ministack|p256 p384 ed25519 pss pkcs1
gcp|gcp-kms, Google's messages|p256 p384 ed25519 pss pkcs1
azure|azure-kv, Microsoft's models|p256 p384 pss pkcs1
END
    if [[ ${keyless_fulcio-} ]]; then
        for key in endpoint file mail; do
            judge_cells "fulcio, identity by $key" p256 "$work/keyless-$key"
        done
    fi
}

# judge_cells BACKEND ALGORITHM FOLDER: a row. A judge that knows the algorithm must accept what was signed, and say that the
# signature is wrong when it was tampered with; one that does not must refuse both.
judge_cells() {
    local backend="$1" key="$2" out="$3" judge verdict verdicts=() result=ok sbom="$sbom"
    [[ $backend != *-kms* ]] || choose_sbom "$key"
    python3 "$here/support/tamper.py" "$out/envelope.json" "$out/tampered-envelope.json"
    python3 "$here/support/tamper.py" "$out/bundle.sigstore.json" "$out/tampered-bundle.json"
    for judge in openssl securesystemslib cosign3 cosign2 sigstore-js signer; do
        verdict="$(verdict_by "$judge")"
        verdicts+=("$verdict")
        [[ $verdict == "$(verdict_wanted)" ]] || result=FAILED
    done
    if [[ $result == ok ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $backend, $key: ${verdicts[*]}; the last judge said: $(<"$work/cell.log")"
    fi
    backend_rows+=("$(backend_row "$backend" "$key" "${verdicts[@]}" "$result")")
}

# cosign and sigstore-js verify ECDSA with SHA-256 whatever the curve, and RSA by PKCS #1 v1.5 alone. cosign 2 is asked about
# files and Fulcio, which is where it might find a difference.
verdict_wanted() {
    case "$judge $key $backend" in
        cosign2\ *\ file | cosign2\ *\ fulcio*) ;;
        cosign2*) echo - && return ;;
    esac
    case "$judge $key" in
        cosign*\ p384 | cosign*\ pss | sigstore-js\ p384 | sigstore-js\ pss) echo refuses ;;
        *) echo accepts ;;
    esac
}

# The word for the table.
verdict_by() {
    if [[ $(verdict_wanted) == - ]]; then
        echo -
    elif judge_by "$1" tampered-envelope tampered-bundle >"$work/cell.log" 2>&1 </dev/null; then
        echo ACCEPTS-ALL
    elif ! grep -qE "$signature_is_wrong" "$work/cell.log"; then
        echo FAILS
    elif judge_by "$1" envelope bundle.sigstore >"$work/cell.log" 2>&1 </dev/null; then
        echo accepts
    elif grep -qE "$signature_is_wrong" "$work/cell.log"; then
        echo refuses
    else
        echo FAILS
    fi
}

signature_is_wrong='[Vv]erification [Ff]ailure|VerificationError|do not match threshold|signature verification failed|\[failure\] signature'

# judge_by JUDGE ENVELOPE BUNDLE: needs `$out` and `$key`.
judge_by() {
    local judge="$1" public="$out/public-key.pem" bundle="$3" of identity=() options=()
    if [[ $out == */keyless-* ]]; then
        of="$(python3 -c 'import json, sys
identity = json.load(open(sys.argv[1]))["bundle"]["signingIdentity"]
print(identity["issuer"], identity["subject"])' "$out/response.json")"
        identity=(--certificate-oidc-issuer "${of% *}" --certificate-identity "${of#* }")
    fi
    case "$judge" in
        openssl) openssl_by_algorithm "$2" ;;
        securesystemslib)
            [[ $key != pkcs1 ]] || options=(rsa-pkcs1v15-sha256)
            "$python" "$here/judges/securesystemslib_verify.py" "$out/$2.json" "$public" "${options[@]}"
            ;;
        cosign*)
            options=(--key "$public")
            # Its certificate may be over by now: what counts is when the service's authority saw the signature.
            [[ ! ${identity-} ]] || options=("${identity[@]}" --use-signed-timestamps)
            HOME="$work" cosign_blob "${!judge}" "$out" "$bundle" "${options[@]}"
            ;;
        sigstore-js)
            options=(--key "$public")
            [[ ! ${identity-} ]] || options=(--issuer "${of% *}" --subject "${of#* }")
            sigstore_js "$out/$bundle.json" --trusted-root "$out/trusted_root.json" "${options[@]}"
            ;;
        signer)
            options=(--trust "$public")
            [[ ! ${identity-} ]] || options=(--trust "$out/trusted_root.json" "${identity[@]}")
            "$signer" verify "$out/$bundle.json" "${options[@]}"
            ;;
    esac
}

openssl_by_algorithm() {
    local by=(openssl dgst -sha256)
    python3 "$here/judges/pae.py" "$out/$1.json" "$out/pae.bin" "$out/signature.der" || return
    case "$key" in
        ed25519)
            openssl pkeyutl -verify -rawin -pubin -inkey "$public" -sigfile "$out/signature.der" -in "$out/pae.bin"
            return
            ;;
        p384) by=(openssl dgst -sha384) ;;
        pss) by+=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32) ;;
    esac
    "${by[@]}" -verify "$public" -signature "$out/signature.der" "$out/pae.bin"
}

backend_row() {
    printf '%-30s %-9s %-8s %-16s %-11s %-11s %-11s %-8s %s' "$@"
}

print_backends() {
    ((${#backend_rows[@]} == 0)) && return
    printf '\n%s\n' "$(backend_row backend algorithm openssl securesystemslib "cosign 3" "cosign 2" sigstore-js signer result)"
    printf '%s\n' "${backend_rows[@]}"
}
