// A narrow link to one peer: what goes to its UDP port is queued and sent slowly, in the network of the tests.
import { execFileSync } from 'node:child_process';

const tc = (...args) => execFileSync('tc', args, { stdio: ['ignore', 'pipe', 'pipe'] });
/** All datagrams between browsers and the server of one machine pass here. */
const DEVICE = 'lo';

/** What arrives at `port` goes through `kbit` per second, and waits in a queue of `queueMs` at most. */
export function narrow(port, kbit, queueMs = 200) {
  tc('qdisc', 'replace', 'dev', DEVICE, 'root', 'handle', '1:', 'htb', 'default', '1');
  tc('class', 'add', 'dev', DEVICE, 'parent', '1:', 'classid', '1:10', 'htb', 'rate', `${kbit}kbit`, 'burst', '8k');
  tc('qdisc', 'add', 'dev', DEVICE, 'parent', '1:10', 'bfifo', 'limit', String(Math.round((kbit * queueMs) / 8)));
  for (const [prio, protocol, family] of [['1', 'ip', 'ip'], ['2', 'ipv6', 'ip6']]) {
    tc('filter', 'add', 'dev', DEVICE, 'parent', '1:', 'protocol', protocol, 'prio', prio, 'u32',
      'match', family, 'protocol', '17', '0xff', 'match', family, 'dport', String(port), '0xffff', 'flowid', '1:10');
  }
}

/** Every link is as wide as the machine again. */
export function widen() {
  tc('qdisc', 'del', 'dev', DEVICE, 'root');
}
