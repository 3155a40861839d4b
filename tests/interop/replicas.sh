# Sourced: replicas behind HAProxy that share their state in a real Redis, in the extended lane in a real Valkey.

# judge_replicas EXTENDED: true or false.
judge_replicas() {
    install_haproxy
    install_redis
    judge_store redis-server "$redis_server"
    if $1; then
        install_valkey
        judge_store valkey-server "$valkey_server"
    fi
}

# judge_store NAME PROGRAM: the scripts against their definition, then four replicas behind a balancer.
judge_store() {
    local name="$1" program="$2" folder port what
    folder="$work/$name"
    mkdir -p "$folder/replicas"
    version="$("$program" --version | grep -oE 'v=[0-9.]+' | cut -c3-)"
    port="$(free_port)"
    "$program" --port "$port" --bind 127.0.0.1 --save "" --dir "$folder" >"$folder/out" 2>&1 &
    pids+=($!)
    wait_for "$folder/out" 'Ready to accept connections' "$folder/out"
    accepts "$name" "scripts of the shared state, random calls" '^EQUAL' \
        "$python" "$here/replicas/scripts_model.py" "$port" "$root/src/adapters/redis/scripts"
    accepts "$name" "weakened scripts, each noticed by the model" '^ALL NOTICED' \
        "$python" "$here/replicas/scripts_model.py" "$port" "$root/src/adapters/redis/scripts" --weakened
    "$python" "$here/replicas/replicas.py" "$signer" "$haproxy" "$program" \
        "$root/src/adapters/registry/cosign/testdata" "$folder/replicas" >"$folder/judged" 2>&1 || true
    for what in proofs rate concurrency idempotency "store lost" "store hung" "store demoted" "store loading" "stores failover" \
        "stores failback" "stores cut-off" "stores partition" "stores late" "stores stale"; do
        accepts "$name" "4 replicas: $what" "^ok $what: " said "$folder/judged" "$what"
    done
}

# said FILE WHAT: that all was well, or why not, or else the end of everything.
said() {
    grep "^ok $2: " "$1" || { sed -n "/^FAILED $2: /,/^ok /p" "$1" | grep . || tail -n 20 "$1"; return 1; }
}

# Sets `$redis_server`.
install_redis() {
    lock_cache
    libraries_of bookworm libjemalloc2:5. liblzf1:3.
    install_debian redis-tools 5:7. bookworm
    flock -u 8
    redis_server="$unpacked/redis-server"
    write_starter "$redis_server" "LD_LIBRARY_PATH=$libraries exec $(named_server redis-check-rdb redis-server)"
}

# Sets `$haproxy`.
install_haproxy() {
    lock_cache
    libraries_of bookworm liblua5.3-0:5.3. libopentracing1:1. libopentracing-c-wrapper0:1. libpcre2-8-0:10.
    install_debian haproxy 2.6. bookworm
    flock -u 8
    haproxy="$unpacked/haproxy"
    write_starter "$haproxy" "LD_LIBRARY_PATH=$libraries exec $unpacked/usr/sbin/haproxy"
}

# Sets `$valkey_server`: made for a newer C library than this system may have, so it brings that along.
install_valkey() {
    lock_cache
    libraries_of trixie libc6:2.41 libjemalloc2:5. liblzf1:3. libssl3t64:3. libsystemd0:257
    install_debian valkey-tools 8. trixie
    flock -u 8
    valkey_server="$unpacked/valkey-server"
    write_starter "$valkey_server" "exec ${libraries%%:*}/ld-linux-x86-64.so.2 --argv0 valkey-server --library-path \
$libraries:/usr/lib/x86_64-linux-gnu $(named_server valkey-check-rdb valkey-server)"
}

# One at a time: two runs may share the cache.
lock_cache() {
    exec 8>"$interop_cache/lock"
    flock 8
}

# libraries_of SUITE PACKAGE:VERSION…: sets `$libraries`, where the unpacked ones are.
libraries_of() {
    local suite="$1" package
    libraries=""
    for package in "${@:2}"; do
        install_debian "${package%%:*}" "${package#*:}" "$suite"
        libraries+="${libraries:+:}$unpacked/usr/lib/x86_64-linux-gnu"
    done
}

# One program of the tools is the server, when it is called by that name.
named_server() {
    ln -sfn "$1" "$unpacked/usr/bin/$2"
    printf '%s' "$unpacked/usr/bin/$2"
}

write_starter() {
    printf '#!/bin/sh\n%s "$@"\n' "$2" >"$1"
    chmod +x "$1"
}
