# Sourced: an instance of Sigstore: issuers of identity tokens, Fulcio, a timestamp authority, Rekor.

# All of them; sets `$sigstore`, a folder with what cosign and the service have to know of them.
start_sigstore() {
    sigstore="$work/sigstore"
    mkdir -p "$sigstore"
    make_fulcio_chain
    make_strange_chain
    start_authority --subject "$release_identity" --subject "$other_identity"
    release_issuer="$issuer"
    start_authority --subject "$release_identity"
    other_issuer="$issuer"
    start_fulcio fulcio --ca fileca --fileca-cert "$sigstore/fulcio.pem" --fileca-key "$sigstore/intermediate.key" \
        --fileca-key-passwd not-secret
    fulcio_url="$listening"
    start_fulcio foreign-fulcio --ca ephemeralca
    foreign_fulcio_url="$listening"
    start_timestamp_authority
    start_rekor
    curl -sS --fail "$foreign_fulcio_url/api/v1/rootCert" >"$sigstore/foreign-fulcio.pem"
    curl -sS --fail "$tsa_url/api/v1/timestamp/certchain" >"$sigstore/tsa.pem"
    describe_sigstore
}

# A root, and an intermediate that issues: Fulcio's usual shape. The key of the intermediate is for Fulcio and for
# issue_short_lived.
make_fulcio_chain() {
    local chain=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -passout pass:not-secret)
    {
        "${chain[@]}" -subj /O=interop/CN=root -addext keyUsage=critical,keyCertSign,cRLSign \
            -keyout "$sigstore/root.key" -out "$sigstore/root.pem" &&
            "${chain[@]}" -subj /O=interop/CN=intermediate -addext keyUsage=critical,keyCertSign,cRLSign \
                -addext extendedKeyUsage=codeSigning -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
                -CA "$sigstore/root.pem" -CAkey "$sigstore/root.key" -passin pass:not-secret \
                -keyout "$sigstore/intermediate.key" -out "$sigstore/intermediate.pem"
    } 2>"$sigstore/log" || fail "$(<"$sigstore/log")"
    cat "$sigstore/intermediate.pem" "$sigstore/root.pem" >"$sigstore/fulcio.pem"
}

# The chain of a timestamp authority that no one runs.
make_strange_chain() {
    local chain=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -nodes)
    {
        "${chain[@]}" -subj /O=strange/CN=root -addext keyUsage=critical,keyCertSign \
            -keyout "$sigstore/strange.key" -out "$sigstore/strange.pem" &&
            "${chain[@]}" -subj /O=strange/CN=timestamps -addext basicConstraints=critical,CA:FALSE \
                -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=critical,timeStamping \
                -CA "$sigstore/strange.pem" -CAkey "$sigstore/strange.key" \
                -keyout "$sigstore/strange-leaf.key" -out "$sigstore/strange-leaf.pem"
    } 2>"$sigstore/log" || fail "$(<"$sigstore/log")"
    cat "$sigstore/strange-leaf.pem" "$sigstore/strange.pem" >"$sigstore/strange-tsa.pem"
}

# start_fulcio NAME OPTION…: with the configuration that is in its folder, or else with both issuers of images; sets `$listening`,
# its URL.
start_fulcio() {
    local folder="$work/$1" port issuer command
    shift
    mkdir -p "$folder"
    port="$(free_port)"
    [[ -f $folder/config.yaml ]] || {
        echo "oidc-issuers:"
        for issuer in "$release_issuer" "$other_issuer"; do
            printf '  %s: { issuer-url: "%s", client-id: sigstore, type: uri, subject-domain: "http://127.0.0.1" }\n' \
                "$issuer" "$issuer"
        done
    } >"$folder/config.yaml"
    fulcio_command "$folder" "$port" "$(free_port)" "$(free_port)" "$@"
    "${command[@]}" >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    listening="http://127.0.0.1:$port"
    wait_for_answer "$listening/api/v2/configuration" "$folder/log"
}

# fulcio_command FOLDER PORT ANOTHER ANOTHER OPTION…: sets `$command`; without a certificate transparency log, unless the
# options name one.
fulcio_command() {
    local folder="$1" port="$2" grpc_port="$3" metrics_port="$4"
    shift 4
    command=("$fulcio" serve --config-path "$folder/config.yaml" --ct-log-url="" --host 127.0.0.1 --port "$port"
        --grpc-host 127.0.0.1 --grpc-port "$grpc_port" --metrics-port "$metrics_port"
        --legacy-unix-domain-socket "$folder/socket" "$@")
}

# RFC 3161, with a chain of its own; sets `$tsa_url`. There can be one only: its port for metrics is fixed.
start_timestamp_authority() {
    local folder="$work/timestamp-authority" port
    mkdir -p "$folder"
    port="$(free_port)"
    (cd "$folder" && exec "$timestamp_server" serve --host 127.0.0.1 --port "$port" --timestamp-signer memory \
        --disable-ntp-monitoring) >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    tsa_url="http://127.0.0.1:$port"
    wait_for_answer "$tsa_url/ping" "$folder/log"
}

# Rekor v2; sets `$rekor_url`.
start_rekor() {
    local folder="$work/rekor" port
    mkdir -p "$folder/log-of-rekor"
    port="$(free_port)"
    openssl genpkey -algorithm ED25519 -out "$folder/key.pem"
    openssl pkey -in "$folder/key.pem" -pubout -out "$sigstore/rekor.pub"
    "$rekor" serve --storage-dir "$folder/log-of-rekor" --signer-filepath "$folder/key.pem" --hostname 127.0.0.1 \
        --http-port "$port" --grpc-port "$(free_port)" --http-metrics-port "$(free_port)" --checkpoint-interval 1s \
        --batch-max-age 50ms >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    rekor_url="http://127.0.0.1:$port"
    wait_for_answer "$rekor_url/healthz" "$folder/log"
}

# What cosign 3 takes for granted otherwise: where the services are, and what to believe.
describe_sigstore() {
    local start="start-time=$(date --utc --date '-1 hour' +%FT%TZ),operator=interop"
    local fulcio="api-version=1,$start" tsa=(--tsa "url=$tsa_url/api/v1/timestamp,api-version=1,$start" --tsa-config ANY)
    local log=(--rekor "url=$rekor_url,api-version=2,$start" --rekor-config ANY)
    local config=("$cosign3" signing-config create)
    local timestamps="url=$tsa_url,certificate-chain=$sigstore/tsa.pem" log_of="url=$rekor_url,${start%,*},origin=127.0.0.1"
    local root=("$cosign3" trusted-root create) own="url=$fulcio_url,certificate-chain=$sigstore/fulcio.pem"
    {
        "${config[@]}" --fulcio "url=$fulcio_url,$fulcio" --out "$sigstore/plain.json"
        "${config[@]}" --fulcio "url=$fulcio_url,$fulcio" "${tsa[@]}" --out "$sigstore/timestamped.json"
        "${config[@]}" --fulcio "url=$fulcio_url,$fulcio" "${tsa[@]}" "${log[@]}" --out "$sigstore/logged.json"
        "${config[@]}" --fulcio "url=$foreign_fulcio_url,$fulcio" --out "$sigstore/foreign.json"
        "${root[@]}" --fulcio "url=$foreign_fulcio_url,certificate-chain=$sigstore/foreign-fulcio.pem" \
            --out "$sigstore/foreign-root.json"
        root+=(--fulcio "$own")
        "${root[@]}" --tsa "$timestamps" --rekor "$log_of,public-key=$sigstore/rekor.pub" --out "$sigstore/root.json"
        "${root[@]}" --tsa "$timestamps" --rekor "$log_of,public-key=$keys/ed25519.pub" --out "$sigstore/other-log-root.json"
        "${root[@]}" --tsa "url=$tsa_url,certificate-chain=$sigstore/strange-tsa.pem" --out "$sigstore/strange-root.json"
    } >"$sigstore/log" 2>&1 || fail "$(<"$sigstore/log")"
}

# get_identity_token ISSUER SUBJECT: a token about a client of start_authority, for Fulcio; sets `$identity_token`, its file.
get_identity_token() {
    local client
    identity_token="$sigstore/token"
    client="$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$2")"
    curl -sS --fail --user "$client:not-secret" --data grant_type=client_credentials --data resource=urn:sigstore \
        --output "$sigstore/token.json" "$1/token" || fail "$1 gives no token about $2"
    member_of "$sigstore/token.json" access_token | tr -d '\n' >"$identity_token"
}

# wait_for_answer URL LOG: until the newest process answers there.
wait_for_answer() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if curl -sS --fail --output /dev/null "$1" 2>/dev/null; then
            return
        fi
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$2" >&2
    fail "a server did not answer at $1; its log is above"
}
