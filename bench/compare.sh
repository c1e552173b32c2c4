#!/usr/bin/env bash
# Sweeps Lightstick and Janus on this machine, one after the other, with the same publisher and the
# same viewers. Prints a table of each and writes JSON and a picture.
#
#   bench/compare.sh [--out FOLDER] [flags of lightstick-bench sweep]
#
# FOLDER (default: compare-DATE) takes lightstick.json, janus.json and sweep.svg.
# THREADS (default 1): media threads of each server. Leave a core to the generator, or the sweep
# tells of the machine and says so.
# ONLY=janus or ONLY=lightstick sweeps one of them.
# LIGHTSTICK, LIGHTSTICK_BENCH and JANUS name other binaries than those in target/release and the
# path. JANUS_PLUGINS: the folder that holds Janus' plugins and transports.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench_bin=${LIGHTSTICK_BENCH:-$here/../target/release/lightstick-bench}
janus_bin=${JANUS:-$(command -v janus || true)}
threads=${THREADS:-1}
out=compare-$(date +%Y%m%d-%H%M%S)
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi
if [[ ${1:-} == --out ]]; then
  out=${2:?--out needs a folder}
  shift 2
fi
only=${ONLY:-both}
# Janus gathers no candidates on the loopback device. In a network of its own, which needs no rights,
# it gets another address; what one address of a machine sends to another takes the loopback device
# all the same, for both servers alike.
if [[ -z ${INSIDE:-} ]]; then
  INSIDE=1 exec unshare --map-root-user --net "${BASH_SOURCE[0]}" --out "$out" "$@"
fi
address=10.77.7.1
ip link set lo up
ip link add bench0 type veth peer name bench1
ip address add "$address/24" dev bench0
ip link set bench0 up
ip link set bench1 up

if [[ $only != lightstick && ! -x $janus_bin ]]; then
  echo "there is no Janus: apt-get install janus, or set JANUS" >&2
  exit 2
fi
mkdir -p "$out"
rm -f "$out/lightstick.json" "$out/janus.json" "$out/sweep.svg"
folder=$(mktemp -d)
janus=
finish() {
  if [[ -n $janus ]]; then
    kill "$janus" 2>/dev/null || true
    wait "$janus" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap finish EXIT

# A sweep that finds nothing exits with 1; its figures and the other server's are wanted all the same.
if [[ $only != janus ]]; then
  SERVER_FLAGS="--shards $threads ${SERVER_FLAGS:-}" "$here/local.sh" sweep --label Lightstick \
    --json "$out/lightstick.json" "$@" >"$folder/lightstick.txt" || [[ -s $out/lightstick.json ]] ||
    cat "$folder/lightstick.txt" >&2
fi

if [[ $only != lightstick ]]; then
  plugins=${JANUS_PLUGINS:-$(dirname "$(find /usr/lib /usr/local/lib /opt/janus/lib -type d \
    -path '*/janus/plugins' 2>/dev/null | head -n 1)")}
  port=$((20000 + RANDOM % 10000))
  mkdir "$folder/janus"
  for file in "$here"/janus/*.jcfg; do
    sed -e "s|CONFIGS|$folder/janus|; s|PLUGINS|$plugins|; s|THREADS|$threads|" \
      -e "s|PORT|$port|; s|ADDRESS|$address|" "$file" >"$folder/janus/$(basename "$file")"
  done
  "$janus_bin" -C "$folder/janus/janus.jcfg" -F "$folder/janus" >"$folder/janus.log" 2>&1 &
  janus=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$janus" 2>/dev/null || { cat "$folder/janus.log" >&2; exit 1; }
    sleep 0.05
  done
  version=$("$janus_bin" --version 2>&1 | sed -n "s/^Janus version:.*(\(.*\))$/\1/p" || true)
  "$bench_bin" sweep "http://127.0.0.1:$port/janus" --protocol janus --room 1 --bind "$address" \
    --server-pid "$janus" --label "Janus ${version:-}" --json "$out/janus.json" "$@" \
    >"$folder/janus.txt" || [[ -s $out/janus.json ]] || cat "$folder/janus.log" >&2
fi

results=()
for name in lightstick janus; do
  [[ ! -s $out/$name.json ]] || results+=("$out/$name.json")
done
if [[ ${#results[@]} == 0 ]]; then
  exit 1
fi
"$bench_bin" table "${results[@]}"
"$bench_bin" plot --title "One room, $threads media thread(s) a server" "${results[@]}" >"$out/sweep.svg"
echo "in $out: JSON of each server, sweep.svg"
