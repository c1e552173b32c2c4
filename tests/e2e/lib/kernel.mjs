// What the kernel says of this network, and of its machine.
import { readFileSync } from 'node:fs';

/** Datagrams that found a full receive buffer so far: a receiver that came too late, on a busy machine. */
export function datagramsDropped() {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8').split('\n')
    .filter((line) => line.startsWith('Udp:')).map((line) => line.split(' '));
  const v6 = /^Udp6RcvbufErrors\s+(\d+)$/m.exec(readFileSync('/proc/net/snmp6', 'utf8'));
  return Number(values[names.indexOf('RcvbufErrors')]) + Number(v6?.[1] ?? 0);
}

/** Milliseconds so far in which something that could run had to wait for a processor. */
export function processorWaited() {
  const [, us] = /^some .*total=(\d+)/m.exec(readFileSync('/proc/pressure/cpu', 'utf8'));
  return Number(us) / 1_000;
}
