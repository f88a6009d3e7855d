import { readFileSync } from 'node:fs';
import { canBind, canListen } from './port-is-free.ts';

/** Below what host agents of tests take (PORT_RANGE) and rows of ports, and the ports that systems mostly give out by themselves. */
const PORTS = Array.from({ length: 6_384 }, (_, index) => 10_000 + index);
const TRIES = 1_000;

/**
 * A port of loopback that is free for TCP and UDP, and that nobody is given who asks for any free one: what is
 * published at it may be ended, and be there again later.
 * @param count how many in a row; the first is told
 */
export async function lastingPort(count = 1): Promise<number> {
  const { first, last } = systemPorts();
  const quiet = PORTS.filter((port) => port < first || port > last);
  const ports = quiet.length > 0 ? quiet : PORTS;
  for (let tries = 0; tries < TRIES; tries++) {
    const port = ports[Math.floor(Math.random() * ports.length)]!;
    if (await areFree(port, count)) return port;
  }
  throw new Error(`no port of ${TRIES} from ${ports[0]} to ${ports.at(-1)} is free`);
}

async function areFree(first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port++)
    if (!(await canListen(port)) || !(await canBind(port))) return false;
  return true;
}

/** Those that the system gives out by itself (ip(7), ip_local_port_range; elsewhere those of RFC 6335, 6). */
function systemPorts(): { first: number; last: number } {
  try {
    const [first, last] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1')
      .trim()
      .split(/\s+/);
    return { first: Number(first), last: Number(last) };
  } catch {
    return { first: 49_152, last: 65_535 };
  }
}
