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

# Debian's docker-registry, which knows no referrers API; sets `$registry`, its host and port.
start_registry() {
    local folder="$work/registry"
    mkdir -p "$folder"
    cat >"$folder/config.yml" <<END
version: 0.1
log: { level: info, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $folder/data } }
http: { addr: "127.0.0.1:0" }
END
    "$registry_server" serve "$folder/config.yml" >"$folder/log" 2>&1 &
    pids+=($!)
    wait_for "$folder/log" 'listening on 127.0.0.1:' "$folder/log"
    registry="$(grep -oE '127\.0\.0\.1:[0-9]+' "$folder/log" | sed -n 1p)"
}

# `signer serve` with the neighbours of `signer dev`, but that registry and this release key; sets `$service`.
start_second_service() {
    local folder="$work/service"
    mkdir -p "$folder"
    python3 "$here/support/second_service.py" "$(place_of configuration)" "$folder/signer.toml" "$folder" \
        "$registry" "$repository" "$1"
    "$signer" serve --config "$folder/signer.toml" >"$folder/out" 2>"$folder/log" &
    pids+=($!)
    wait_for "$folder/out" '"ready":true' "$folder/log"
    service="http://$(grep -oE '127\.0\.0\.1:[0-9]+' "$folder/out" | sed -n 1p)"
}

# The second service's answer about an image.
referrers_of() {
    local url="$service/api/v1/signer/verify/referrers" token proof
    token="$("$signer" proof --credentials "$dev/credentials.json" --token)" || return 1
    proof="$("$signer" proof --credentials "$dev/credentials.json" --method GET --url "$url")" || return 1
    curl -sS "$url?digest=$1" -H "Authorization: DPoP $token" -H "DPoP: $proof"
}

# wait_for FILE PATTERN LOG: until the newest process said it, for at most 30 s.
wait_for() {
    local file="$1" pattern="$2" log="$3" tries
    for ((tries = 0; tries < 300; tries++)); do
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
