# Sourced: servers of the interop lane. All on loopback, on free ports, ended by their process ids.

pids=()
repository="stellaops/scanner"

# `signer dev`, with its neighbours; sets `$dev`, its folder.
start_dev() {
    dev="$work/dev"
    mkdir -p "$dev"
    "$signer" dev --listen 127.0.0.1:0 --out "$dev" >"$dev/out" 2>"$dev/log" &
    pids+=($!)
    wait_for "$dev/out" '"ready":true' "$dev/log"
}

# What `signer dev` printed behind a name, as in "  metrics   http://…".
place_of() {
    awk -v name="$1" '$1 == name { print $2; exit }' "$dev/out"
}

# A CA, a server's certificate for loopback, two clients' certificates, and a server's that no CA issued; sets `$tls`, their
# folder.
make_certificates() {
    tls="$work/tls"
    mkdir -p "$tls"
    local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1)
    "${new[@]}" -subj "/CN=interop CA" -keyout "$tls/ca.key" -out "$tls/ca.pem" 2>"$tls/log" &&
        issue_certificate server localhost -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" &&
        issue_certificate scanner scanner -addext extendedKeyUsage=clientAuth &&
        issue_certificate other other -addext extendedKeyUsage=clientAuth &&
        "${new[@]}" -subj /CN=stray -addext "subjectAltName=IP:127.0.0.1" -keyout "$tls/stray.key" -out "$tls/stray.pem" \
            2>>"$tls/log" || fail "$(<"$tls/log")"
}

# issue_certificate FILE COMMON_NAME OPTION…
issue_certificate() {
    local file="$tls/$1" name="$2"
    shift 2
    "${new[@]}" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -subj "/CN=$name" -addext basicConstraints=CA:FALSE "$@" \
        -keyout "$file.key" -out "$file.pem" 2>>"$tls/log"
}

# start_authority OPTION…: oidc-provider, whose tokens are for the tenant of `signer dev`; sets `$issuer` and `$resource`.
start_authority() {
    local folder
    folder="$(mktemp -d "$work/authority.XXXX")"
    "$node" "$(beside_modules "$here/authority/provider.mjs")" --tenant acme --installation acme-dev \
        --certificate "$tls/server.pem" --key "$tls/server.key" --client-ca "$tls/ca.pem" \
        "$@" >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    wait_for "$folder/out" '"ready":true' "$folder/log"
    issuer="$(member_of "$folder/out" issuer)"
    resource="$(member_of "$folder/out" resource)"
}

# Keycloak with the realm of authority/stellaops-realm.json, whose tokens are for the tenant of `signer dev`, over TLS
# that asks for client certificates; sets `$issuer` and `$resource`.
start_keycloak() {
    local folder="$work/keycloak" port
    port="$(free_port)"
    # A copy: it writes into its own folder.
    cp -r --reflink=auto "$keycloak" "$folder"
    mkdir -p "$folder/data/import"
    cp "$here/authority/stellaops-realm.json" "$folder/data/import/"
    "$folder/bin/kc.sh" start --optimized --cache=local --import-realm --http-host=127.0.0.1 --https-port="$port" \
        --hostname="https://127.0.0.1:$port" --https-certificate-file="$tls/server.pem" \
        --https-certificate-key-file="$tls/server.key" --https-trust-store-file="$tls/ca.pem" \
        --https-trust-store-type=PEM >"$folder/log" 2>&1 &
    pids+=($!)
    wait_for "$folder/log" 'Listening on: https' "$folder/log" 300
    issuer="https://127.0.0.1:$port/realms/stellaops"
    resource=""
}

# start_tls_service ISSUER: `signer serve` with the neighbours of `signer dev`, but that Authority, TLS that asks for
# client certificates, and proofs that need nonces; sets `$service`.
start_tls_service() {
    local folder listen
    folder="$(mktemp -d "$work/tls-service.XXXX")"
    listen="127.0.0.1:$(free_port)"
    env SSL_CERT_FILE="$tls/ca.pem" SIGNER__SERVER__LISTEN="$listen" SIGNER__SERVER__PUBLIC_ORIGIN="https://$listen" \
        SIGNER__SERVER__TLS__CERTIFICATE="$tls/server.pem" SIGNER__SERVER__TLS__KEY="file:$tls/server.key" \
        SIGNER__SERVER__TLS__CLIENT_CA="$tls/ca.pem" SIGNER__SERVER__TLS__CLIENT_AUTH=optional \
        SIGNER__AUTH__ISSUER="$1" SIGNER__AUTH__DPOP__NONCE=required SIGNER__RELEASE__BINDING=when-present \
        SIGNER__STATE__DIRECTORY="$folder/state" SIGNER__AUDIT__DIRECTORY="$folder/audit" \
        "$signer" serve --config "$(place_of configuration)" >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    wait_for "$folder/out" '"ready":true' "$folder/log"
    service="https://$listen"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A member of the JSON object in a file.
member_of() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$@"
}

# wait_for FILE PATTERN LOG [SECONDS]: until the newest process said it, for at most 30 s or so many.
wait_for() {
    local file="$1" pattern="$2" log="$3" seconds="${4-30}" tries
    for ((tries = 0; tries < seconds * 10; tries++)); do
        if grep -qs "$pattern" "$file"; then
            return
        fi
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    fail "a server did not say $pattern; its log is above"
}

stop_services() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
}
