# Sourced: signing with keys on a token of SoftHSM, made by OpenSC's pkcs11-tool. Whatever the service signs there,
# verifiers that share no code with it judge.

hsm_pin=271828

# Five algorithms; then what befalls a token.
judge_pkcs11() {
    make_token
    local key
    for key in p256 p384 ed25519 pss pkcs1; do
        start_backend_service "hsm-$key" "$hsm/backends.toml"
        sign_there "hsm-$key"
        judge_remote_signature "SoftHSM" "$key" "$work/hsm-$key"
        [[ $key == p256 ]] || stop "$backend_pid"
        [[ $key != p256 ]] || keep_service
    done
    restore_service
    version="$(<"$softhsm/version")"
    judge_token_pulled
    judge_token_restored_elsewhere
    stop "$backend_pid"
    judge_wrong_pin
    judge_unsuitable_keys
    judge_token_rotation
}

# The token's folder is taken away under load and put back: 503 meanwhile, and recovery without a restart.
judge_token_pulled() {
    mv "$hsm/tokens" "$hsm/pulled"
    accepts SoftHSM "token pulled" 'signing_backend_unavailable' until_unavailable
    mv "$hsm/pulled" "$hsm/tokens"
    accepts SoftHSM "token put back" '^signed' until_signed
    accepts SoftHSM "token pulled, in the log" 'was lost and is opened anew' cat "${backend_credentials%/*}/log"
}

# Another host's backup takes its place: the same key with another slot number.
judge_token_restored_elsewhere() {
    mkdir "$hsm/copy"
    cp -r "$hsm/tokens/." "$hsm/copy/"
    mv "$hsm/tokens" "$hsm/broken"
    accepts SoftHSM "HSM lost" 'signing_backend_unavailable' until_unavailable
    mv "$hsm/copy" "$hsm/tokens"
    accepts SoftHSM "HSM replaced from its backup" '^signed' until_signed
    rm -r "$hsm/broken"
}

# One try, however often the service looks; then the right PIN in the same file.
judge_wrong_pin() {
    printf '000000' >"$hsm/pin"
    start_backend_service_unready hsm-p256 "$hsm/backends.toml"
    accepts SoftHSM "wrong PIN" 'signing_backend_(error|unavailable)' code_of_signing
    accepts SoftHSM "wrong PIN, tried once" '^1 tried, and told' wrong_pins
    accepts SoftHSM "wrong PIN, nowhere in the log" '^0$' lines_with 000000 "$backend_log"
    printf '%s' "$hsm_pin" >"$hsm/pin"
    accepts SoftHSM "right PIN, without a restart" '^signed' until_signed
    stop "$backend_pid"
}

lines_with() {
    grep -c "$1" "$2" || true
}

# How often the token said so; the service looks again every second, so two seconds tell.
wrong_pins() {
    local end=$((SECONDS + 30))
    until grep -q 'refused this PIN before' "$backend_log"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
    echo "$(grep -c 'said PinIncorrect' "$backend_log") tried, and told"
}

judge_unsuitable_keys() {
    local key what pattern
    while IFS='|' read -r key what pattern; do
        accepts "signer check" "$what" "$pattern" check_backend "$key"
    done <<'END'
p256|a key that signs|\[ok\].*hsm-p256
twice|two keys of one label|more than one private key on the token has this name
extractable|a key that can be taken out|allow_extractable
wrong-curve|a key on another curve|another curve than algorithm says
another|a key that is not public_key's|does? not make signatures that public_key verifies
absent|no key of this label|no private key on the token has this key_label
no-token|a token that is not there|the token is not there
END
}

# A second key on the token while the first one signs; then the first one is deleted there.
judge_token_rotation() {
    version="$(<"$softhsm/version")"
    local tool add remove
    tool="$pkcs11_tool --token-label 'signer interop' --login --pin $hsm_pin"
    add="$tool --keypairgen --label p256-2 --id 0b --key-type EC:prime256v1 --usage-sign"
    add+=" && $python $here/backends/softhsm.py $pkcs11_tool $hsm $hsm_pin $hsm_module p256-2"
    remove="$tool --delete-object --type privkey --label p256"
    judge_rotation SoftHSM hsm-p256 hsm-p256-2 "$hsm/backends.toml" "$add" "$remove"
}

# check_backend KEY: what `signer check` says of a service that has this one.
check_backend() {
    local folder
    folder="$(mktemp -d "$work/check.XXXX")"
    cat "$(place_of configuration)" "$hsm/check-$1.toml" >"$folder/signer.toml"
    env SIGNER__SERVER__LISTEN="127.0.0.1:$(free_port)" SIGNER__SERVER__METRICS_LISTEN="127.0.0.1:$(free_port)" \
        SIGNER__SIGNING__DEFAULT_MODE=kms SIGNER__SIGNING__DEFAULT_KEY="hsm-$1" \
        SIGNER__STATE__DIRECTORY="$folder/state" SIGNER__AUDIT__DIRECTORY="$folder/audit" \
        "$signer" check --config "$folder/signer.toml" || true
}

until_unavailable() {
    local end=$((SECONDS + 30)) answer=""
    while ((SECONDS < end)); do
        answer="$(code_of_signing)"
        if [[ $answer == *signing_backend_unavailable* ]]; then
            echo "$answer"
            return
        fi
    done
    echo "$answer"
    return 1
}

# As start_backend_service, of one that does not get ready; sets `$backend_log`, too.
start_backend_service_unready() {
    local folder
    wait_until_ready=false start_backend_service "$@"
    folder="${backend_credentials%/*}"
    backend_log="$folder/log"
    wait_for "$backend_log" 'could not be opened' "$backend_log"
}

# --- the token ------------------------------------------------------------------------------------------------------

# Sets `$softhsm`, the folder of the module, `$softhsm_util` and `$pkcs11_tool`.
install_softhsm() {
    lock_cache
    libraries_of bookworm libsofthsm2:2.6. opensc-pkcs11:0.23.
    softhsm="$interop_cache/debian/libsofthsm2-2.6"
    hsm_module="$softhsm/usr/lib/softhsm/libsofthsm2.so"
    install_debian softhsm2 2.6. bookworm
    softhsm_util="$unpacked/usr/bin/softhsm2-util"
    install_debian opensc 0.23. bookworm
    pkcs11_tool="$unpacked/usr/bin/pkcs11-tool.starter"
    write_starter "$pkcs11_tool" "LD_LIBRARY_PATH=$libraries exec $unpacked/usr/bin/pkcs11-tool --module $hsm_module"
    flock -u 8
}

# A token with keys that the service is to have, and some that it must not; sets `$hsm`, its folder.
make_token() {
    hsm="$work/hsm"
    mkdir -p "$hsm/tokens"
    printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$hsm/tokens" >"$hsm/softhsm2.conf"
    export SOFTHSM2_CONF="$hsm/softhsm2.conf"
    (umask 077 && printf '%s' "$hsm_pin" >"$hsm/pin")
    {
        "$softhsm_util" --module "$hsm_module" --init-token --free --label "signer interop" --so-pin 31415926 --pin "$hsm_pin"
        make_key p256 01 EC:prime256v1
        make_key p384 02 EC:secp384r1
        make_key ed25519 03 EC:edwards25519
        make_key pss 04 rsa:2048
        make_key pkcs1 05 rsa:2048
        make_key twice 06 EC:prime256v1
        make_key twice 07 EC:prime256v1
        make_key extractable 08 EC:prime256v1 --extractable
        make_key wrong-curve 09 EC:secp384r1
        make_key another 0a EC:prime256v1
        "$python" "$here/backends/softhsm.py" "$pkcs11_tool" "$hsm" "$hsm_pin" "$hsm_module"
    } >"$hsm/log" 2>&1 || fail "$(<"$hsm/log")"
}

# make_key LABEL ID TYPE OPTION…
make_key() {
    local label="$1" id="$2" type="$3"
    shift 3
    "$pkcs11_tool" --token-label "signer interop" --login --pin "$hsm_pin" --keypairgen --label "$label" --id "$id" \
        --key-type "$type" --usage-sign "$@"
}
