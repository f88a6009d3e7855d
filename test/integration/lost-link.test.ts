/** What happens while the link is away and both programs live. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { listForwards } from '../helpers/api.ts';
import { type EngineName, engines } from '../helpers/engines.ts';
import { LinkWire } from '../helpers/link-wire.ts';
import { logLines, loopback, ONE_WORKER, Pair, until } from '../helpers/processes.ts';
import { connectTo, fateOf, readAll, readExactly, refuses, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

const pathOf = (url: string): string => url.slice('unix://'.length);

interface Wired {
  readonly pair: Pair;
  readonly wire: LinkWire;
}

let echo: StreamServer;
let running: Wired[] = [];

beforeAll(async () => {
  echo = await tcpEcho();
});
afterAll(() => echo?.close());
afterEach(async () => {
  for (const { pair, wire } of running) {
    await pair.close();
    wire.close();
  }
  running = [];
});

/** A pair whose host agent reaches the shim through a wire. */
async function start(
  engine: EngineName,
  lane: 'dedicated' | 'multiplexed',
  ...options: string[]
): Promise<Wired> {
  let wire: LinkWire | undefined;
  const pair = await Pair.start(lane, engine, ONE_WORKER, [...ONE_WORKER, ...options], (each) => {
    wire = new LinkWire(join(each.dir, 'wire.sock'), pathOf(each.shimUrl));
    each.linkUrl = each.group.unixUrl('wire.sock');
    void wire.mend();
  });
  running.push({ pair, wire: wire! });
  return { pair, wire: wire! };
}

const lost = (pair: Pair): Promise<unknown> =>
  until('the loss to be known', async () => !(await listForwards(pair.api)).vms[0]!.up);
const works = (port: number): Promise<boolean> =>
  roundTrip(port, 'hello').then(
    (answer) => answer === 'hello',
    () => false,
  );

/** Clients connect while the link is away; then it comes back. */
async function checkWaiting({ pair, wire }: Wired, ports: readonly number[]): Promise<void> {
  const clients = await Promise.all(ports.map((port) => connectTo(port)));
  for (const client of clients) client.write('waiting');
  await wire.mend();
  for (const client of clients) {
    expect((await readExactly(client, 7)).toString()).toBe('waiting');
    client.destroy();
  }
  // The claim was kept: it is the same forward still.
  const lines = logLines(pair.host.stderr()).filter(({ msg }) => msg === 'claims of the VM shim');
  expect(lines.at(-1)).toMatchObject({ kept: 1, added: 0, dropped: 0 });
}

describe.each(engines)('%s engine', (engine) => {
  it('dedicated connections go on while the link is away; clients that come are served when it is back', async () => {
    const { pair, wire } = await start(engine, 'dedicated');
    const { port } = await pair.expose(loopback('tcp', echo.port));
    const { port: claimed } = await pair.claim(loopback('tcp', echo.port), pair.portFsUrl);
    const client = await connectTo(port);
    client.write('before');
    await readExactly(client, 6);
    wire.cut();
    await lost(pair);
    expect(wire.streams).toBe(1);
    const block = Buffer.alloc(3_000_000, 'while the link is away ');
    client.write(block);
    expect((await readExactly(client, block.length)).equals(block)).toBe(true);
    await checkWaiting({ pair, wire }, [port, claimed]);
    const rest = readAll(client);
    client.end('after');
    expect((await rest).toString()).toBe('after');
  });

  it('on the multiplexed lane clients that come are served when it is back', async () => {
    const { pair, wire } = await start(engine, 'multiplexed');
    const { port } = await pair.expose(loopback('tcp', echo.port));
    const { port: claimed } = await pair.claim(loopback('tcp', echo.port), pair.portFsUrl);
    wire.cut();
    await lost(pair);
    await checkWaiting({ pair, wire }, [port, claimed]);
  });
});

it('a client that gets no stream over a link that is up is reset, and its container is not blamed, on each engine', async () => {
  await Promise.all(
    engines.map(async (engine) => {
      const { pair, wire } = await start(engine, 'dedicated');
      const { port } = await pair.expose(loopback('tcp', echo.port));
      wire.shut();
      expect((await fateOf(await connectTo(port))).how).toBe('ECONNRESET');
      const line = await until('the line in the log', () =>
        logLines(pair.host.stderr()).find(({ msg }) => msg?.startsWith('a client was reset')),
      );
      expect(line).toMatchObject({
        code: 'NO_LINK',
        msg: expect.stringMatching(/cannot connect to unix:|no stream to the VM shim: connect: ENOENT/),
      });
      await wire.mend();
      await until('the forward to work again', () => works(port));
    }),
  );
});

it('a client that waits in vain is reset after 5 s, and not before, on each engine', async () => {
  await Promise.all(
    engines.map(async (engine) => {
      const { pair, wire } = await start(engine, 'dedicated');
      const { port, spec } = await pair.expose(loopback('tcp', echo.port));
      wire.cut();
      await lost(pair);
      const begun = performance.now();
      const client = await connectTo(port);
      client.write('in vain');
      expect((await fateOf(client)).how).toBe('ECONNRESET');
      expect(performance.now() - begun).toBeGreaterThan(4_900);
      const line = await until('the line in the log', () =>
        logLines(pair.host.stderr()).find(({ msg }) => msg?.startsWith('a client was reset')),
      );
      expect(line).toMatchObject({
        code: 'NO_LINK',
        msg: expect.stringContaining('no link to VM "default" for 5 s'),
      });
      expect((await pair.stats(spec)).dial_failures).toBe(1);
      await wire.mend();
      await until('the forward to work again', () => works(port));
    }),
  );
});

it('claims outlive the link for --grace and end then, API-made forwards do not', async () => {
  const { pair, wire } = await start('portable', 'dedicated', '--grace', '0.5');
  const { port } = await pair.expose(loopback('tcp', echo.port));
  const claim = await pair.claim(loopback('tcp', echo.port), pair.portFsUrl);
  wire.cut();
  await until('the claim to end', () => refuses(claim.port));
  const line = logLines(pair.host.stderr()).find(({ msg }) => msg?.includes('the claims of the VM shim end'));
  expect(line?.msg).toContain('no link for 0.5 s');
  expect((await listForwards(pair.api)).forwards.map(({ owner }) => owner)).toEqual(['api']);
  // The claimer has noticed nothing; the shim asks for it again on the next link.
  await wire.mend();
  await until('the claim to be back', () => works(claim.port));
  expect(await works(port)).toBe(true);
  expect(claim.running.child.exitCode).toBe(null);
});
