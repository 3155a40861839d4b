# Sourced: keys in clouds' key services. Functions of backends.sh sign and judge.

# AWS KMS as ministack has it: it checks signatures of requests and permissions, and signs with `cryptography`.
judge_aws_kms() {
    start_ministack
    local key
    for key in p256 p384 ed25519 pss pkcs1 role; do
        start_backend_service "kms-$key" "$kms/backends.toml"
        choose_sbom "$key"
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
    judge_aws_kms_rotation
    stop "$ministack_pid"
}

# Another key, as KMS does not rotate those that sign; then the first one is disabled there.
judge_aws_kms_rotation() {
    local does="$kms_python $here/backends/kms.py" where="$kms_address $kms"
    judge_rotation "AWS KMS" kms-p256 kms-p256-2 "$kms/backends.toml" "$does rotate $where" "$does disable $where"
}

# Ed25519 signs whole statements, of which AWS takes 4096 bytes and Google 64 KiB: a smaller document then.
choose_sbom() {
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

# Cloud KMS on loopback, whose answers Google's own messages write: every algorithm, then what befalls it.
judge_gcp_kms() {
    start_gcp_kms
    local key
    for key in p256 p384 ed25519 pss pkcs1; do
        start_backend_service "gcp-$key" "$gcp/backends.toml"
        choose_sbom "$key"
        sign_there "gcp-$key"
        judge_remote_signature "Cloud KMS" "$key" "$work/gcp-$key"
        if [[ $key != p256 ]]; then
            stop "$backend_pid"
        else
            keep_service
        fi
    done
    restore_service
    judge_gcp_kms_faults
    stop "$backend_pid"
    judge_fake_rotation "Cloud KMS" gcp "$gcp"
}

# judge_fake_rotation JUDGE PREFIX FOLDER: of a cloud on loopback, which makes and destroys versions when it is asked.
judge_fake_rotation() {
    local ask
    ask="curl -fsS -X POST $(sed -n 's/^\(endpoint\|vault\) = "\(.*\)"/\2/p' "$3/backends.toml" | head -n 1)/interop"
    judge_rotation "$1" "$2-p256" "$2-p256-2" "$3/backends.toml" "$ask/rotate" "$ask/destroy"
}

judge_gcp_kms_faults() {
    local error='signing_backend_error' what
    version="$("$kms_python" -c 'import importlib.metadata; print(importlib.metadata.version("google-cloud-kms"))')"
    for what in "deny:permission withdrawn" "disable:key version disabled" "corrupt:signature corrupted on its way" \
        "swallow:checksum of the digest not checked"; do
        echo "${what%%:*}" >"$gcp/does"
        accepts "Cloud KMS" "${what#*:}" "$error" code_of_signing
        echo nothing >"$gcp/does"
        accepts "Cloud KMS" "${what#*:}, no more" '^signed' until_signed
    done
    echo throttle >"$gcp/does"
    accepts "Cloud KMS" "throttled" 'signing_backend_unavailable' code_of_signing
    echo revoke >"$gcp/does"
    accepts "Cloud KMS" "every token revoked, a new one is fetched" '^signed' until_signed
}

# Sets `$gcp`, its folder.
start_gcp_kms() {
    gcp="$work/gcp"
    mkdir -p "$gcp"
    "$kms_python" "$here/backends/gcp_kms.py" "$(free_port)" "$gcp" >"$gcp/out" 2>&1 &
    pids+=($!)
    wait_for "$gcp/out" '^ready' "$gcp/out"
}

# Azure Key Vault on loopback, whose answers Microsoft's own models write.
judge_azure_kv() {
    start_azure_kv
    local key what
    for key in p384 pss pkcs1 p256; do
        start_backend_service "azure-$key" "$azure/backends.toml"
        sign_there "azure-$key"
        judge_remote_signature "Azure Key Vault" "$key" "$work/azure-$key"
        if [[ $key != p256 ]]; then
            stop "$backend_pid"
        fi
    done
    version="$("$kms_python" -c 'import importlib.metadata; print(importlib.metadata.version("azure-keyvault-keys"))')"
    for what in "deny:permission withdrawn" "disable:key version disabled"; do
        echo "${what%%:*}" >"$azure/does"
        accepts "Azure Key Vault" "${what#*:}" signing_backend_error code_of_signing
        echo nothing >"$azure/does"
        accepts "Azure Key Vault" "${what#*:}, no more" '^signed' until_signed
    done
    echo throttle >"$azure/does"
    accepts "Azure Key Vault" "throttled" signing_backend_unavailable code_of_signing
    echo revoke >"$azure/does"
    accepts "Azure Key Vault" "every token revoked, a new one is fetched" '^signed' until_signed
    stop "$backend_pid"
    judge_fake_rotation "Azure Key Vault" azure "$azure"
}

# Sets `$azure`, its folder.
start_azure_kv() {
    azure="$work/azure"
    mkdir -p "$azure"
    "$kms_python" "$here/backends/azure_kv.py" "$(free_port)" "$azure" >"$azure/out" 2>&1 &
    pids+=($!)
    wait_for "$azure/out" '^ready' "$azure/out"
}

# Sets `$kms_python` and `$faketime`.
install_kms() {
    local requirements="$here/backends/requirements.txt" folder
    folder="$interop_cache/kms-$(fingerprint "$requirements")"
    kms_python="$folder/bin/python"
    lock_cache
    if ! "$kms_python" -c 'import ministack, botocore, cryptography, google.cloud.kms_v1, azure.keyvault.keys' 2>/dev/null; then
        rm -rf "$folder"
        echo "fetching ministack and the messages of other clouds"
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
