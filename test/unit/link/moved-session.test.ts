/** Which sessions are given to another thread: those of links that have all that is needed there. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { encodeHello } from '../../../shared/control-codec.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { establishLink } from '../../../shared/link/establish.ts';
import { encodeHandshake } from '../../../shared/link/handshake.ts';
import { LinkIdentity } from '../../../shared/link/identity.ts';
import type { SessionCarrier } from '../../../shared/link/session-settings.ts';
import { silentLogger } from '../../../shared/logger.ts';

const open: Array<() => unknown> = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

async function sockets(): Promise<[Socket, Socket]> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  open.push(
    () => near.destroy(),
    () => far.destroy(),
  );
  for (const each of [near, far]) each.on('error', () => {});
  return [near, far];
}

/** A shim that has all features but one says hello, and nothing more. */
async function asked(missing: string): Promise<boolean> {
  const [host, shim] = await sockets();
  const hello = new LinkIdentity('shim').nextHello(undefined);
  const features = hello.features.filter((feature) => feature !== missing);
  shim.end(encodeHandshake(encodeHello({ ...hello, features })));
  expect(hello.features.length - features.length).toBe(missing === '' ? 0 : 1);
  let moved = false;
  const carrier: SessionCarrier = {
    carry: async () => {
      moved = true;
      throw new BridgeError('IO', 'it is enough to have been asked');
    },
  };
  const established = establishLink(host.pause(), {
    identity: new LinkIdentity('host'),
    dialled: true,
    legacyPeer: false,
    log: silentLogger(),
    signal: new AbortController().signal,
    chooseLane: () => 'multiplexed',
    onChannel: () => {},
    onStreamReset: () => {},
    carrier,
  });
  shim.resume();
  const link = await established.catch(() => undefined);
  link?.close();
  return moved;
}

it.each([
  ['', true],
  ['dial-result', false],
  ['udp-flows', false],
  ['control', false],
  ['ping', true],
])('where the shim has all but "%s": %s', async (missing, moved) => {
  expect(await asked(missing)).toBe(moved);
});
