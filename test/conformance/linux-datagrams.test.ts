/** What only a UDP forward that runs in a thread can get wrong. */
import { afterEach, describe, it } from 'vitest';
import { silentLogger } from '../../shared/logger.ts';
import { engines } from '../helpers/engines.ts';
import { type Joined, joinPair } from '../helpers/joined.ts';
import { until } from '../helpers/processes.ts';
import { type UdpPeer, udpEcho, udpPeer } from '../helpers/udp-peer.ts';

describe.skipIf(!engines.includes('linux'))('UDP of the Linux engine', () => {
  let pair: Joined | undefined;
  const peers: UdpPeer[] = [];

  afterEach(async () => {
    await pair?.close();
    for (const peer of peers.splice(0)) await peer.close();
  });

  const track = async (peer: Promise<UdpPeer>): Promise<UdpPeer> => {
    peers.push(await peer);
    return peer;
  };

  /** Sends until an answer comes: while nobody serves the flow, datagrams are lost. */
  async function answered(client: UdpPeer, port: number, text: string): Promise<void> {
    let looks = 0;
    await until(`an answer to ${text}`, () => {
      if (looks++ % 10 === 0) client.send(Buffer.from(text), port);
      return client.received.some((answer) => answer.toString() === text);
    });
  }

  it.each([
    ['host', 'host'],
    ['shim', 'host'],
    ['host', 'shim'],
    ['shim', 'shim'],
  ] as const)('is served again when a worker of the %s dies, the %s dials', async (side, dials) => {
    pair = await joinPair('dedicated', 'unix', 'linux', 1, silentLogger(), dials);
    const { threads, expose } = pair;
    const echo = await track(udpEcho());
    const port = await expose(`udp:127.0.0.1:0:udp:127.0.0.1:${echo.port}`);
    const client = await track(udpPeer());
    await answered(client, port, 'before');
    await threads[side]!.threads[0]!.terminate();
    await answered(client, port, 'after');
  });

  it('of several forwards is spread over the workers, and all work', async () => {
    pair = await joinPair('dedicated', 'unix', 'linux', 3);
    const { expose } = pair;
    const echoes = await Promise.all(Array.from({ length: 4 }, () => track(udpEcho())));
    const ports = await Promise.all(
      echoes.map(({ port }) => expose(`udp:127.0.0.1:0:udp:127.0.0.1:${port}`)),
    );
    const client = await track(udpPeer());
    for (const [index, port] of ports.entries()) await answered(client, port, `to ${index}`);
  });
});
