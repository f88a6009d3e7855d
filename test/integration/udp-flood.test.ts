/** More datagrams than the other side takes: nothing waits for it, nothing grows, and the forward lives on. */
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engines } from '../helpers/engines.ts';
import { mib, residentBytes } from '../helpers/process-figures.ts';
import { loopback, Pair, until } from '../helpers/processes.ts';
import { type UdpPeer, udpEcho, udpPeer } from '../helpers/udp-peer.ts';

const PAYLOAD = Buffer.alloc(1_400, 'x');
const DATAGRAMS = 40_000;

/** User and system time of a process, in clock ticks of 10 ms (proc_pid_stat(5)). */
function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

describe.skipIf(!engines.includes('linux'))('a shim that reads nothing for a while', () => {
  let pair: Pair;
  let client: UdpPeer;
  let echo: UdpPeer;

  beforeAll(async () => {
    pair = await Pair.start('dedicated', 'linux');
    client = await udpPeer();
    echo = await udpEcho();
  });
  afterAll(async () => {
    await pair?.close();
    await client?.close();
    await echo?.close();
  });

  const flood = async (port: number): Promise<void> => {
    for (let sent = 0; sent < DATAGRAMS; sent++) {
      client.send(PAYLOAD, port);
      if (sent % 50 === 0) await turn();
    }
  };
  const answered = (port: number, text: string) => {
    let looks = 0;
    return until(`an answer to ${text}`, () => {
      if (looks++ % 10 === 0) client.send(Buffer.from(text), port);
      return client.received.some((answer) => answer.toString() === text);
    });
  };

  it('costs datagrams, which are counted, but no memory and no processor', async () => {
    const { spec, port } = await pair.expose(loopback('udp', echo.port));
    await answered(port, 'before');
    const before = residentBytes(pair.host.pid);
    pair.shim.child.kill('SIGSTOP');
    await flood(port);
    const grown = residentBytes(pair.host.pid) - before;
    const ticks = ticksOf(pair.host.pid);
    await flood(port);
    const busy = ticksOf(pair.host.pid) - ticks;
    console.log(`the host agent has grown by ${mib(grown)}; full, it used ${busy * 10} ms of processor time`);
    expect(grown).toBeLessThan(32 * 1024 * 1024);
    expect(busy).toBeLessThan(20);
    pair.shim.child.kill('SIGCONT');
    await answered(port, 'after');
    // Some went away in the client's own socket; most of the rest met a full one here.
    const { dropped, datagrams_up: up } = await pair.stats(spec);
    expect(dropped!).toBeGreaterThan(DATAGRAMS / 2);
    expect(dropped! + up!).toBeLessThanOrEqual(2 * DATAGRAMS + 1_000);
    expect((await pair.stats(spec)).flows).toBe(1);
  });
});
