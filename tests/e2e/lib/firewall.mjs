// A network that lets no UDP through to some ports, as those of offices and hotels. In the namespace of network.sh.
import { execFileSync } from 'node:child_process';

const nft = (rules) => execFileSync('nft', ['-f', '-'], { input: rules });

/** Blocks UDP from and to these ports, silently, until the function that it gives is called. */
export function blockUdp(ports) {
  const ranged = `{ ${ports.join(', ')} }`;
  nft(`table inet blocked {
    chain input {
      type filter hook input priority 0;
      udp dport ${ranged} drop
      udp sport ${ranged} drop
    }
  }`);
  return () => nft('delete table inet blocked');
}
