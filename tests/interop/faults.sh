# Sourced: faults of keys elsewhere that need servers of several kinds, and what `signer check` says of each. After
# judge_openbao and the clouds, whose servers and keys these are.

judge_faults() {
    run_ministack
    judge_checks
    judge_throttled
    judge_clock
    stop "$ministack_pid"
}

# What `signer check` says of each, as it is and when it is not permitted to sign.
judge_checks() {
    version="$("$signer" --version | cut -d' ' -f2)"
    local name key tables does denied
    while IFS='|' read -r name key tables does denied; do
        accepts "signer check" "$name: a key that signs" "\[ok\].*signing key $key: opens and signs" check_there "$key" "$tables"
        $does deny
        accepts "signer check" "$name: permission withdrawn" "\[failure\].*signing key $key: .*$denied" check_there "$key" "$tables"
        $does allow
    done <<END
OpenBao|bao-p256-2|$openbao/backends.toml|openbao_does|permission denied
AWS KMS|kms-p256-2|$kms/backends.toml|kms_does|AccessDeniedException
Cloud KMS|gcp-p256-2|$gcp/backends.toml|gcp_does|PERMISSION_DENIED
Azure Key Vault|azure-p256-2|$azure/backends.toml|azure_does|Forbidden
END
    openbao_does seal
    accepts "signer check" "OpenBao: sealed" "signing key bao-p256-2: .*Vault is sealed" check_there bao-p256-2 "$openbao/backends.toml"
    openbao_does unseal
    stop "$ministack_pid"
    accepts "signer check" "AWS KMS: nobody there" "signing key kms-p256-2: AWS KMS cannot be reached" \
        check_there kms-p256-2 "$kms/backends.toml"
    run_ministack
}

# Throttled at every request, then no more.
judge_throttled() {
    local stub
    start_backend_service kms-p256-2 "$kms/backends.toml"
    version="$("$kms_python" -c 'import importlib.metadata; print(importlib.metadata.version("ministack"))')"
    stop "$ministack_pid"
    python3 "$here/backends/throttle.py" "${kms_address##*:}" >"$kms/throttle" 2>&1 &
    stub=$!
    pids+=("$stub")
    wait_for "$kms/throttle" '^ready' "$kms/throttle"
    accepts "AWS KMS" "throttled" 'signing_backend_unavailable' code_of_signing
    accepts "AWS KMS" "throttled, in the log" 'status 400, ThrottlingException' until_logged 'status 400, ThrottlingException'
    stop "$stub"
    run_ministack
    accepts "AWS KMS" "throttled no more" '^signed' until_signed
    stop "$backend_pid"
}

# The log, once the service has met what it is to say. While one server went and the other came it may have met nobody, and it
# asks no more often than its breaker lets it.
until_logged() {
    local end=$((SECONDS + 30))
    while ((SECONDS < end)) && ! grep -q "$1" "$backend_log"; do
        code_of_signing >/dev/null
    done
    cat "$backend_log"
}

# Our own clock, an hour off and set again while the service runs. Callers come with tokens of their own time, so nothing
# gets as far as a key.
judge_clock() {
    local off
    version="$("$signer" --version | cut -d' ' -f2)"
    echo '+0' >"$work/clock"
    for off in +3600 -3600; do
        with_clock start_backend_service kms-p256-2 "$kms/backends.toml"
        accepts signer "clock as it should be" '^signed' until_signed
        echo "$off" >"$work/clock"
        accepts signer "clock off by $off s" '"code":"invalid_token"' code_of_signing
        accepts "signer check" "clock off by $off s" "our clock and that of .* differ by (${off#+}|$((off - 1))|$((off + 1))) s" \
            with_clock check_there kms-p256-2 "$kms/backends.toml"
        echo '+0' >"$work/clock"
        accepts signer "clock set again after $off s" '^signed' until_signed
        stop "$backend_pid"
    done
}

# With the clock that "$work/clock" sets.
with_clock() {
    local -x LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$work/clock" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
    "$@"
}

# check_there KEY TABLES.toml: what `signer check` says of a service that has it.
check_there() {
    local folder
    folder="$(mktemp -d "$work/check.XXXX")"
    cat "$(place_of configuration)" "$2" >"$folder/signer.toml"
    env SIGNER__SERVER__LISTEN="127.0.0.1:$(free_port)" SIGNER__SERVER__METRICS_LISTEN="127.0.0.1:$(free_port)" \
        SIGNER__SIGNING__DEFAULT_MODE=kms SIGNER__SIGNING__DEFAULT_KEY="$1" \
        SIGNER__STATE__DIRECTORY="$folder/state" SIGNER__AUDIT__DIRECTORY="$folder/audit" \
        "$signer" check --config "$folder/signer.toml" || true
}

gcp_does() {
    echo "${1/allow/nothing}" >"$gcp/does"
}

azure_does() {
    echo "${1/allow/nothing}" >"$azure/does"
}
