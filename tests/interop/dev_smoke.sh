#!/usr/bin/env bash
# What `signer dev` prints is a promise: the lines work as printed, and nothing is left behind.
#
#   tests/interop/dev_smoke.sh SIGNER
#
# Prints one line for each check, and `N passed, M failed`. Exit code 0: nothing failed.
set -euo pipefail

signer="$(realpath "$1")"
work="$(mktemp -d)"
cd "$work"
pid=""
trap 'if [[ -n $pid ]]; then kill "$pid" 2>/dev/null || true; wait "$pid" || true; fi; rm -rf "$work"' EXIT
passed=0
failed=0

check() {
    local what="$1"
    shift
    if "$@" >output 2>&1; then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        cat output
    fi
}

wait_until_ready() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        grep -qs '^{"ready":true' out && return
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# The lines between a heading and the next.
printed_below() {
    awk -v heading="$1" 'index($0, heading) == 1 { on = 1; next } /^[^ ]/ { on = 0 } on && NF' out
}

as_printed() {
    [[ -s $1 ]] && bash -euo pipefail "$1"
}

# curl is told from outside to print the status too: the printed line itself stays as it is.
curl_line_answers_200() {
    mkdir -p curl
    echo 'write-out = "\n%{http_code}"' >curl/.curlrc
    CURL_HOME="$work/curl" as_printed curl.sh >answer || return 1
    cat answer
    [[ $(tail -n 1 answer) == 200 ]] && grep -q '"payloadType":"application/vnd.in-toto+json"' answer
}

files_are_there() {
    local file
    for file in response.json envelope.json bundle.sigstore.json public-key.pem trusted_root.json; do
        [[ -s signed/$file ]] || { echo "signed/$file is missing"; return 1; }
    done
}

ends_with_0() {
    local code=0
    kill -TERM "$pid"
    wait "$pid" || code=$?
    pid=""
    echo "exit code $code"
    ((code == 0))
}

# Relative and with a space: the printed lines must be quoted, and work from elsewhere.
"$signer" dev --listen 127.0.0.1:0 --out "dev folder" >out 2>log &
pid=$!
check "it gets ready on a free port" wait_until_ready
printed_below "sign with curl:" >curl.sh
printed_below "sign a file:" >cli.sh
folder="$(dirname "$(awk '$1 == "configuration" { print $2; exit }' out)")"

check "credentials.json is its owner's alone" test "$(stat -c %a "dev folder/credentials.json")" = 600
check "the service's folder is its owner's alone" test "$(stat -c %a "$folder")" = 700
check "the curl line answers 200" curl_line_answers_200
check "the curl line does so again" curl_line_answers_200
check "the command line signs" as_printed cli.sh
check "it wrote what it promises" files_are_there
check "it verifies offline" "$signer" verify signed/bundle.sigstore.json --trust signed/trusted_root.json
check "it ends with 0 on SIGTERM" ends_with_0
check "its folder is gone" test ! -e "$folder"
check "its log holds no error" bash -c '! grep -E " (ERROR|CRIT) |panicked" log'

echo "$passed passed, $failed failed"
((failed == 0))
