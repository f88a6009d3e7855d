/** What a client and a container may expect of a pair, whatever joins it. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { unixSpec, until } from '../helpers/processes.ts';
import { connectTo, fateOf, fateOfNew, readAll, readExactly, roundTrip } from '../helpers/stream-client.ts';
import { sendBytes } from '../helpers/test-bytes.ts';
import type { Carrier } from './carrier.ts';
import { type Cases, same } from './cases.ts';
import type { Containers } from './guest/containers.ts';
import { seenAt } from './seen.ts';

const BURST = 100;

/** TestBytes and their SHA-256. */
export interface Bulk {
  readonly seed: number;
  readonly bytes: number;
  readonly digest: string;
}

export interface Surroundings {
  readonly containers: Containers;
  /** Where the containers tell what they have seen. */
  readonly seenSocket: string;
  /** For sockets of clients. */
  readonly folder: string;
  readonly bulk: Bulk;
}

let clientSockets = 0;

export async function carryCases(
  cases: Cases,
  what: string,
  pair: Carrier,
  { containers, seenSocket, folder, bulk }: Surroundings,
): Promise<void> {
  const of = (name: string) => `${what}: ${name}`;
  const seen = () => seenAt(seenSocket);

  await cases.case(of('a round trip'), async () => {
    const port = await pair.tcp(containers.echo);
    same(await roundTrip(port, 'there and back'), 'there and back', 'the echo');
  });

  await cases.case(of('the half-close of a client'), async () => {
    const socket = await connectTo(await pair.tcp(containers.patient));
    socket.end('all of it');
    same((await readAll(socket)).toString(), 'all of it', 'the answer after the end');
  });

  await cases.case(of('the half-close of a container'), async () => {
    const { heard } = await seen();
    const socket = await connectTo(await pair.tcp(containers.leaving));
    same((await readAll(socket)).toString(), 'bye', 'what came before the end');
    socket.end(`still here: ${what}`);
    const now = await until('the container to have heard', async () => {
      const { heard: all } = await seen();
      return all.length > heard.length && all;
    });
    same(now.at(-1), `still here: ${what}`, 'what was said after the end');
  });

  await cases.case(of('a reset of the container reaches the client'), async () => {
    const socket = await connectTo(await pair.tcp(containers.resetting));
    same((await readExactly(socket, 5)).toString(), 'hello', 'the greeting');
    socket.write('x');
    same((await fateOf(socket)).how, 'ECONNRESET', 'the fate of the client');
  });

  await cases.case(of('a reset of the client reaches the container'), async () => {
    const { fates } = await seen();
    const socket = await connectTo(await pair.tcp(containers.watching));
    same((await readExactly(socket, 5)).toString(), 'ready', 'the greeting');
    socket.resetAndDestroy();
    const now = await until('the container to have seen it', async () => {
      const { fates: all } = await seen();
      return all.length > fates.length && all;
    });
    same(now.at(-1), 'ECONNRESET', 'the fate of the container');
  });

  await cases.case(of('a port that nobody listens on in the VM'), async () => {
    same((await fateOfNew(await pair.tcp(containers.nobody))).how, 'ECONNRESET', 'the fate of the client');
  });

  await cases.case(of('datagrams of many sizes'), async () => {
    const port = await pair.expose(`udp:127.0.0.1:0:udp:127.0.0.1:${containers.udpEcho}`);
    const socket = createSocket('udp4');
    try {
      for (const [index, size] of [0, 1, 1_400, 9_000, 65_507].entries()) {
        const payload = Buffer.alloc(size, index + 1);
        const answer = once(socket, 'message') as Promise<[Buffer]>;
        socket.send(payload, port, '127.0.0.1');
        if (!(await answer)[0].equals(payload)) throw new Error(`${size} bytes came back as others`);
      }
    } finally {
      socket.close();
    }
  });

  await cases.case(of('a unix socket'), async () => {
    const path = join(folder, `client-${++clientSockets}.sock`);
    await pair.expose(unixSpec(path, containers.unixEcho));
    const socket = await connectTo(path);
    socket.end('by path');
    same((await readAll(socket)).toString(), 'by path', 'the answer');
  });

  await cases.case(of(`${BURST} connections at once`), async () => {
    const port = await pair.tcp(containers.echo);
    const numbers = Array.from({ length: BURST }, (_, number) => `connection ${number}`);
    same(await Promise.all(numbers.map((text) => roundTrip(port, text))), numbers, 'the echoes');
  });

  const megabytes = bulk.bytes / 1_000_000;
  await cases.case(of(`${megabytes} MB have the same SHA-256 behind the link`), async () => {
    const socket = await connectTo(await pair.tcp(containers.digesting));
    sendBytes(socket, bulk.seed, bulk.bytes);
    same((await readAll(socket)).toString(), bulk.digest, 'SHA-256');
  });

  await cases.case(of('a shim that is killed resets its clients'), async () => {
    const socket = await connectTo(await pair.tcp(containers.echo));
    socket.write('alive');
    await readExactly(socket, 5);
    const fate = fateOf(socket);
    await pair.killShim();
    same((await fate).how, 'ECONNRESET', 'the fate of the client');
  });
}
