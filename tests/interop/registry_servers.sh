# Sourced: registries, and the service that looks into them. All on loopback, on free ports.

# Debian's docker-registry, which knows no referrers API: open, and the same storage behind TLS and authentication. Sets `$docker`,
# `$behind_basic`, `$behind_token` and `$behind_other_ca`, each a host and port.
start_docker_registries() {
    local folder="$work/docker-registry" ours="tls: { certificate: $tls/server.pem, key: $tls/server.key }"
    mkdir -p "$folder"
    start_docker_registry open ""
    docker="$listening"
    registry="$docker"
    # scanner, not-secret
    echo 'scanner:$2b$04$Gq4l9HhxWIUeiHJtJ2hwzeVhyKlJbCi8iCQBD1QSrEmdIL.5S6dWe' >"$folder/htpasswd"
    start_docker_registry basic "$ours" "auth: { htpasswd: { realm: basic, path: $folder/htpasswd } }"
    behind_basic="$listening"
    "$python" "$here/support/token_realm.py" "$tls/server.pem" "$tls/server.key" scanner not-secret \
        >"$folder/realm" 2>"$folder/realm.log" &
    pids+=($!)
    wait_for "$folder/realm" 'listening on' "$folder/realm.log"
    token_realm="$(grep -oE '127\.0\.0\.1:[0-9]+' "$folder/realm")"
    start_docker_registry token "$ours" \
        "auth: { token: { realm: 'https://$token_realm/', service: interop, issuer: realm, rootcertbundle: $tls/ca.pem } }"
    behind_token="$listening"
    start_docker_registry other-ca "tls: { certificate: $tls/stray.pem, key: $tls/stray.key }"
    behind_other_ca="$listening"
}

# start_docker_registry NAME TLS [AUTH]: over the storage that all share; sets `$listening`.
start_docker_registry() {
    local folder="$work/docker-registry" config="$work/docker-registry/$1.yml" log="$work/docker-registry/$1.log"
    cat >"$config" <<END
version: 0.1
log: { level: info, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $folder/data } }
http: { addr: "127.0.0.1:0", secret: shared, ${2} }
${3-}
END
    "$registry_server" serve "$config" >"$log" 2>&1 &
    pids+=($!)
    wait_for "$log" 'listening on 127.0.0.1:' "$log"
    listening="$(grep -oE '127\.0\.0\.1:[0-9]+' "$log" | sed -n 1p)"
}

# The registry of go-containerregistry, which has the Referrers API: with all referrers on one page, and with one on each.
# Sets `$with_referrers` and `$with_pages`, each a host and port.
start_referrers_registries() {
    start_referrers_registry whole
    with_referrers="$listening"
    start_referrers_registry pages -page 1
    with_pages="$listening"
}

# start_referrers_registry NAME OPTION…: sets `$listening`.
start_referrers_registry() {
    local folder="$work/referrers-registry-$1"
    shift
    mkdir -p "$folder"
    "$referrers_registry" "$@" >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    wait_for "$folder/out" 'listening on' "$folder/log"
    listening="$(grep -oE '127\.0\.0\.1:[0-9]+' "$folder/out")"
}

# zot, whose Referrers API is that of a draft of OCI 1.1; sets `$with_zot`, its host and port.
start_zot() {
    local folder="$work/zot" port
    mkdir -p "$folder"
    port="$(free_port)"
    cat >"$folder/config.json" <<END
{ "distSpecVersion": "1.1.0", "storage": { "rootDirectory": "$folder/data" },
  "http": { "address": "127.0.0.1", "port": "$port" }, "log": { "level": "info" } }
END
    "$zot" serve "$folder/config.json" >"$folder/log" 2>&1 &
    pids+=($!)
    with_zot="127.0.0.1:$port"
    wait_for_answer "http://$with_zot/v2/" "$folder/log"
}

# The section `[release]` for images signed by key.
release_by_key() {
    "$python" - "$keys" "$repository" "$token_realm" "$revoked" "$docker" "$behind_basic" "$behind_token" "$behind_other_ca" \
        "${with_referrers-}" "${with_pages-}" "${with_zot-}" <<'END'
import json, sys
keys, name, realm, revoked, docker, basic, token, other_ca, *extended = sys.argv[1:]
local = lambda host: "localhost:" + host.split(":")[1]
plain = [host for host in (docker, *extended) if host]
hosts = [*plain, basic, token, local(basic), local(token), other_ca]
login = lambda host, password: {"host": host, "username": "scanner", "password": f"file:{keys}/{password}"}
for password in ("not-secret", "wrong"):
    open(f"{keys}/{password}", "w", opener=lambda path, flags: __import__("os").open(path, flags, 0o600)).write(password)
print(json.dumps({
    "repositories": [f"{host}/{name}" for host in hosts],
    "keys": [f"{keys}/{kind}.pub" for kind in ("release", "rsa", "p384", "ed25519")],
    "plain_http": plain,
    "private_networks": ["127.0.0.0/8"],
    "extra_hosts": [realm],
    "revoked": [revoked],
    "credentials": [login(basic, "not-secret"), login(token, "not-secret"), login(local(basic), "wrong")],
}))
END
}

# start_release_service RELEASE_JSON [COMMAND…]: `signer serve` with the neighbours of `signer dev`, but that section `[release]`, under
# that command; sets `$service` and `$service_log`.
start_release_service() {
    local folder release="$1"
    shift
    folder="$(mktemp -d "$work/release-service.XXXX")"
    echo "$release" >"$folder/release.json"
    python3 "$here/support/release_service.py" "$(place_of configuration)" "$folder/signer.toml" "$folder" "$folder/release.json"
    env SSL_CERT_FILE="$tls/ca.pem" "$@" "$signer" serve --config "$folder/signer.toml" >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    service_log="$folder/log"
    wait_for "$folder/out" '"ready":true' "$service_log"
    service="http://$(grep -oE '127\.0\.0\.1:[0-9]+' "$folder/out" | sed -n 1p)"
}

# referrers_of DIGEST REPOSITORY: the service's answer about an image there.
referrers_of() {
    local url="$service/api/v1/signer/verify/referrers" token proof
    token="$("$signer" proof --credentials "$dev/credentials.json" --token)" || return 1
    proof="$("$signer" proof --credentials "$dev/credentials.json" --method GET --url "$url")" || return 1
    curl -sS "$url?digest=$1&repository=$2" -H "Authorization: DPoP $token" -H "DPoP: $proof"
}
