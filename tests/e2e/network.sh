#!/bin/sh
# Runs a command in a network of its own: loopback, and one address of each family with a default route to nowhere.
# Firefox connects to no loopback address, and nothing here shall reach further than this machine.
set -eu

export TEST_NETWORK_ADDRESS=10.77.0.1

if [ "${1:-}" = --inside ]; then
  shift
  ip link set lo up
  ip link add test0 type veth peer name test1
  ip address add "$TEST_NETWORK_ADDRESS/24" dev test0
  ip link set test0 up
  ip link set test1 up
  ip route add default via 10.77.0.2
  # Browsers use a family only where it has a default route.
  ip address add fd00:77::1/64 dev test0 nodad
  ip route add default via fd00:77::2
  exec "$@"
fi

set -- sh "$0" --inside "$@"
[ "$(id -u)" = 0 ] || set -- --map-root-user "$@"
exec unshare --net "$@"
