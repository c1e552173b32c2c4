#!/usr/bin/env bash
# Starts a server on loopback, loads it with lightstick-bench, and stops it.
#
#   bench/local.sh run   [flags of lightstick-bench run]      one room: publisher and viewers
#   bench/local.sh sweep [flags of lightstick-bench sweep]    viewers added until the server is overloaded
#   bench/local.sh storm [flags of lightstick-bench storm]    many viewers join a room at once
#   bench/local.sh churn [flags of lightstick-bench churn]    joins and leaves beside a publisher
#   bench/local.sh attack [flags of lightstick-bench run]     the same as run, twice: without and with an attack on
#                                                             the chat; ATTACK has flags of lightstick-bench attack,
#                                                             --secs at least as long as the run takes
#   bench/local.sh flood KIND [flags of lightstick-bench flood]
#                                                             the media ports are attacked beside viewers: frames,
#                                                             places or reports
#
# LIGHTSTICK and LIGHTSTICK_BENCH name other binaries than those in target/release.
# SERVER_FLAGS goes to `lightstick serve`, such as "--shards 1".
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
server_bin=${LIGHTSTICK:-$root/target/release/lightstick}
bench_bin=${LIGHTSTICK_BENCH:-$root/target/release/lightstick-bench}
command=${1:-}
case $command in
  run | sweep | storm | churn | attack | flood) shift ;;
  *)
    sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
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

if [[ $command == attack ]]; then
  # Webhooks and reviews go to somebody who takes them and never answers.
  node -e 'require("net").createServer(() => {}).listen(0, "127.0.0.1", function () { console.log(this.address().port) })' \
    >"$folder/deaf.port" &
  pids+=("$!")
  until [[ -s $folder/deaf.port ]]; do sleep 0.05; done
  deaf="http://127.0.0.1:$(cat "$folder/deaf.port")"
  secret="whsec_$(head -c 32 /dev/zero | base64)"
  cat >"$folder/lightstick.toml" <<TOML
[[chat.webhooks]]
url = "$deaf/hook"
secret = "$secret"
[chat.review]
url = "$deaf/review"
secret = "$secret"
TOML
  export LIGHTSTICK_CHAT__SOCKETS_PER_ADDRESS_MAX=20000 LIGHTSTICK_CHAT__SOCKETS_MAX=20000
fi

# In a folder of its own: no other lightstick.toml is read.
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
elif [[ $command == attack ]]; then
  measure() { "$bench_bin" run "$base" --server-pid "$server" --metrics "$metrics" --chat "$@"; }
  echo '--- without an attack'
  measure "$@"
  # With what the others leave of the machine: attackers have machines of their own.
  # shellcheck disable=SC2086 # ATTACK is a list of words.
  nice -n 19 "$bench_bin" attack "$base" ${ATTACK:---secs 60} >"$folder/attack.log" 2>&1 &
  attack=$!
  pids=("$attack" "${pids[@]}")
  echo '--- under attack'
  measure "$@" || true
  wait "$attack" || true
  echo '--- what the attackers saw'
  cat "$folder/attack.log"
  echo '--- what the server counted'
  curl -sS "$metrics" | grep -E '^lightstick_chat_(clients|websockets|accepted|refused|dropped|channels_closed|messages|held|webhooks|reviews|lost)' | grep -v ' 0$' || true
elif [[ $command == flood ]]; then
  "$bench_bin" flood "$base" --server-pid "$server" "$@"
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
