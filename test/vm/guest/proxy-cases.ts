/** portferry-proxy on a real mount, started as dockerd does, under the shells that VMs have. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from '../../helpers/processes.ts';
import { childrenOf, isGone, type ProxyProcess, startProxy } from '../../helpers/proxy-process.ts';
import { refuses, roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import type { Sides } from './p9-sides.ts';

const SCRIPT = fileURLToPath(new URL('../../../../vm-shim/bin/portferry-proxy', import.meta.url));
const SHELLS = { dash: ['dash'], 'busybox sh': ['busybox', 'sh'] };
const PORT = 7_001;

export async function proxyCases(cases: Cases, sides: Sides, mounted: string): Promise<void> {
  const { echo, udpEcho } = sides.containers;
  for (const [name, shell] of Object.entries(SHELLS)) {
    const of = (what: string) => `portferry-proxy, ${name}: ${what}`;
    const started: ProxyProcess[] = [];
    const start = (protocol: 'tcp' | 'udp', container: number): ProxyProcess => {
      const host = ['-host-ip', '127.0.0.1', '-host-port', `${PORT}`];
      const flags = ['-container-ip', '127.0.0.1', '-container-port', `${container}`];
      const line = [...shell, SCRIPT, '-proto', protocol, ...host, ...flags];
      const proxy = startProxy(line, { by: 'dockerd', env: { PORTFERRY_PORT_DIR: mounted } });
      started.push(proxy);
      return proxy;
    };

    await cases.case(of('answers 0, traffic flows, SIGTERM ends it with 0'), async () => {
      const [tcp, udp] = [start('tcp', echo), start('udp', udpEcho)];
      same([await tcp.status, await udp.status], ['0\n', '0\n'], 'what came on descriptor 3');
      same(await roundTrip(PORT, 'tcp'), 'tcp', 'the echo');
      same(await datagram(PORT, 'udp'), 'udp', 'the datagram');
      for (const proxy of [tcp, udp]) proxy.child.kill('SIGTERM');
      same([await tcp.exited, await udp.exited], [0, 0], 'exit codes');
      same([tcp.output(), udp.output()], ['', ''], 'what they said');
      await until('the port to refuse', () => refuses(PORT), WAIT_MS);
    });

    await cases.case(of('kill -9 frees the port, and no process is left'), async () => {
      const proxy = start('tcp', echo);
      same(await proxy.status, '0\n', 'what came on descriptor 3');
      const children = await until('the child that waits', () => {
        const pids = childrenOf(proxy.pid);
        return pids.length === 1 && pids;
      });
      proxy.child.kill('SIGKILL');
      await until('the port to refuse', () => refuses(PORT), WAIT_MS);
      for (const pid of children) await until('its child to be gone', () => isGone(pid), WAIT_MS);
    });

    await cases.case(of('a port that is taken'), async () => {
      const first = start('tcp', echo);
      same(await first.status, '0\n', 'what the first says');
      const second = start('tcp', echo);
      const words = `1\nBind for 127.0.0.1:${PORT} failed: port is already allocated`;
      const text = new RegExp(`^${words}: VM "\\w+" has .* \\[PORT_IN_USE\\]$`);
      matches(await second.status, text, 'what the second says');
      same(await second.exited, 1, 'its exit code');
      same(await roundTrip(PORT, 'first'), 'first', 'the echo of the first');
      first.child.kill('SIGINT');
      same(await first.exited, 0, 'the exit code of the first');
      await until('the port to refuse', () => refuses(PORT), WAIT_MS);
    });
    for (const { child } of started) child.kill('SIGKILL');
  }
}

/** One datagram and its echo. */
async function datagram(port: number, message: string): Promise<string> {
  const socket = createSocket('udp4');
  try {
    const answer = once(socket, 'message') as Promise<[Buffer]>;
    socket.send(message, port, '127.0.0.1');
    return (await answer)[0].toString();
  } finally {
    socket.close();
  }
}
