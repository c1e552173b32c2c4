#!/usr/bin/env bash
# Starts a server of its own on loopback, loads it with lightstick-bench, and ends it.
#
#   bench/local.sh run   [flags of lightstick-bench run]      one room: publisher and viewers
#   bench/local.sh sweep [flags of lightstick-bench sweep]    viewers added until the server gives way
#   bench/local.sh storm [flags of lightstick-bench storm]    many join a steady room at once
#   bench/local.sh churn [flags of lightstick-bench churn]    joins and leaves beside a publisher
#
# LIGHTSTICK and LIGHTSTICK_BENCH name other binaries than those in target/release.
# SERVER_FLAGS goes to `lightstick serve`, such as "--shards 1".
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
server_bin=${LIGHTSTICK:-$root/target/release/lightstick}
bench_bin=${LIGHTSTICK_BENCH:-$root/target/release/lightstick-bench}
command=${1:-}
case $command in
  run | sweep | storm | churn) shift ;;
  *)
    sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
for bin in "$server_bin" "$bench_bin"; do
  if [[ ! -x $bin ]]; then
    echo "$bin is missing: cargo build --release -p lightstick -p lightstick-bench" >&2
    exit 2
  fi
done

folder=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap finish EXIT

# All viewers come from one address.
limits=LIGHTSTICK_SIGNALING__LIMITS
export "${limits}__SESSIONS_PER_ADDRESS_MAX=20000"
export "${limits}__JOINS_PER_ADDRESS__PER_MINUTE=0" "${limits}__REQUESTS_PER_ADDRESS__PER_MINUTE=0"

# In a folder of its own: no lightstick.toml is read.
# shellcheck disable=SC2086 # SERVER_FLAGS is a list of words.
(cd "$folder" && exec "$server_bin" serve --http-bind 127.0.0.1:0 --operations-bind 127.0.0.1:0 \
  --media-port 0 --log-level warn ${SERVER_FLAGS:-} >server.log 2>&1) &
server=$!
pids+=("$server")
until grep -q 'Metrics:' "$folder/server.log" 2>/dev/null; do
  kill -0 "$server" 2>/dev/null || { cat "$folder/server.log" >&2; exit 1; }
  sleep 0.05
done
base=$(sed -n 's|^ *WHIP: *\(http://[^/]*\)/.*|\1|p' "$folder/server.log")
LIGHTSTICK_BENCH_TOKEN=$(sed -n 's/^ *Token: *//p' "$folder/server.log")
export LIGHTSTICK_BENCH_TOKEN
metrics=$(sed -n 's|^ *Metrics: *||p' "$folder/server.log")

if [[ $command == storm ]]; then
  "$bench_bin" storm "$base" --server-pid "$server" "$@"
elif [[ $command == run || $command == sweep ]]; then
  "$bench_bin" "$command" "$base" --server-pid "$server" --metrics "$metrics" "$@"
else
  "$bench_bin" publish "$base/whip/bench" --secs 86400 >"$folder/publisher.log" 2>&1 &
  pids=("$!" "${pids[@]}")
  until grep -q '^publishing' "$folder/publisher.log" 2>/dev/null; do
    kill -0 "${pids[0]}" 2>/dev/null || { cat "$folder/publisher.log" >&2; exit 1; }
    sleep 0.05
  done
  "$bench_bin" churn "$base/whep/bench" --server-pid "$server" --metrics "$metrics" "$@"
fi
