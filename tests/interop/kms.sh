# Sourced: keys in clouds' key services. Functions of backends.sh sign and judge.

# AWS KMS as ministack has it: it checks signatures of requests and permissions, and signs with `cryptography`.
judge_aws_kms() {
    start_ministack
    local key
    for key in p256 p384 ed25519 pss pkcs1 role; do
        start_backend_service "kms-$key" "$kms/backends.toml"
        sbom_of_kms "$key"
        sign_there "kms-$key"
        case "$key" in
            role) judge_remote_signature "AWS KMS by role" p256 "$work/kms-role" ;;
            *) judge_remote_signature "AWS KMS" "$key" "$work/kms-$key" ;;
        esac
        if [[ $key != p256 ]]; then
            stop "$backend_pid"
        else
            keep_service
        fi
    done
    restore_service
    judge_aws_kms_faults
    stop "$backend_pid"
    kms_does rotate
    start_backend_service kms-p256-2 "$kms/backends.toml"
    sign_there kms-rotated
    judge_remote_signature "AWS KMS" "p256, the key after it" "$work/kms-rotated"
    accepts securesystemslib "AWS KMS, the key before still verifies" '^VERIFIED' \
        "$python" "$here/judges/securesystemslib_verify.py" "$work/kms-p256/envelope.json" "$kms/p256.pub"
    stop "$backend_pid"
    stop "$ministack_pid"
}

# Ed25519 signs whole statements, and KMS at most 4096 bytes: a smaller document then.
sbom_of_kms() {
    sbom="$root/config/examples/sbom.cdx.json"
    if [[ $1 == ed25519 ]]; then
        sbom="$work/small.cdx.json"
        echo '{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}' >"$sbom"
    fi
}

# What befalls a key in KMS: the contract's code each, and recovery without a restart.
judge_aws_kms_faults() {
    local unavailable='signing_backend_unavailable' error='signing_backend_error'
    version="$("$kms_python" -c 'import importlib.metadata; print(importlib.metadata.version("ministack"))')"
    kms_does deny
    accepts "AWS KMS" "permission withdrawn" "$error" code_of_signing
    kms_does allow
    accepts "AWS KMS" "permission given back" '^signed' until_signed
    kms_does disable
    accepts "AWS KMS" "key disabled" "$error" code_of_signing
    kms_does enable
    accepts "AWS KMS" "key enabled" '^signed' until_signed
    kms_does revoke
    accepts "AWS KMS" "access key deleted" "$unavailable" code_of_signing
    kms_does mistype
    accepts "AWS KMS" "wrong secret" "$unavailable|$error" code_of_signing
    kms_does replace
    accepts "AWS KMS" "access key replaced" '^signed' until_signed
    echo '+3600' >"$kms/clock"
    accepts "AWS KMS" "clock off by an hour" "$unavailable" code_of_signing
    accepts "AWS KMS" "the log says why" 'compare the clock' cat "$backend_log"
    echo '+0' >"$kms/clock"
    accepts "AWS KMS" "clock set" '^signed' until_signed
    kill -STOP "$ministack_pid"
    accepts "AWS KMS" "does not answer" "$unavailable" code_of_signing
    kill -CONT "$ministack_pid"
    accepts "AWS KMS" "answers again" '^signed' until_signed
    stop "$ministack_pid"
    accepts "AWS KMS" "stopped" "$unavailable" code_of_signing
    run_ministack
    accepts "AWS KMS" "started again" '^signed' until_signed
}

# Sets `$kms_python` and `$faketime`.
install_kms() {
    local requirements="$here/backends/requirements.txt" folder
    folder="$interop_cache/kms-$(fingerprint "$requirements")"
    kms_python="$folder/bin/python"
    lock_cache
    if ! "$kms_python" -c 'import ministack, botocore, cryptography' 2>/dev/null; then
        rm -rf "$folder"
        echo "fetching ministack"
        python3 -m venv "$folder"
        "$kms_python" -m pip install --quiet --no-deps --only-binary :all: -r "$requirements"
    fi
    install_debian libfaketime 0.9 bookworm
    faketime="$(find "$unpacked" -name libfaketimeMT.so.1)"
    flock -u 8
}

# Sets `$kms`, its folder, and `$kms_address`.
start_ministack() {
    kms="$work/kms"
    mkdir -p "$kms/state"
    echo '+0' >"$kms/clock"
    kms_address="http://127.0.0.1:$(free_port)"
    run_ministack
    kms_does make
}

# With a clock of its own, which `$kms/clock` sets; sets `$ministack_pid`.
run_ministack() {
    : >"$kms/out"
    env -i PATH="$PATH" HOME="$kms" TMPDIR="$kms" LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$kms/clock" \
        FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 BIND_HOST=127.0.0.1 IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 \
        AUTH=true SERVICES=kms,iam,sts PERSIST_STATE=1 STATE_DIR="$kms/state" GATEWAY_PORT="${kms_address##*:}" \
        "${kms_python%/python}/ministack" >"$kms/out" 2>&1 &
    ministack_pid=$!
    pids+=("$ministack_pid")
    wait_for "$kms/out" 'Ready\|Running on\|startup complete' "$kms/out"
}

kms_does() {
    "$kms_python" "$here/backends/kms.py" "$1" "$kms_address" "$kms" || fail "kms.py $1 failed"
}
