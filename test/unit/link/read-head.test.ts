import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { readHead } from '../../../shared/link/read-head.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  server.close();
  client.on('error', () => {});
  sockets.push(client, accepted);
  return [client, accepted];
}

/** Four bytes. */
const four = (bytes: Buffer) =>
  bytes.length < 4 ? undefined : { value: bytes.toString('utf8', 0, 4), used: 4 };
const options = { what: 'head', maxBytes: 8, timeoutMs: 10_000 };

describe('readHead', () => {
  it('takes just the head, whatever the split, and leaves the rest on the paused stream', async () => {
    const [near, far] = await pair();
    const head = readHead(far, four, options);
    near.write('ab');
    await new Promise((resolve) => setTimeout(resolve, 20));
    near.write('cdrest');
    expect(await head).toBe('abcd');
    expect(far.isPaused()).toBe(true);
    const rest = once(far, 'data');
    far.resume();
    expect(String((await rest)[0])).toBe('rest');
    expect(far.listenerCount('data') + far.listenerCount('end')).toBeLessThanOrEqual(1); // Node's own 'end'
  });

  it('can be read from twice in a row', async () => {
    const [near, far] = await pair();
    near.write('abcdefgh');
    expect(await readHead(far, four, options)).toBe('abcd');
    expect(await readHead(far, four, options)).toBe('efgh');
  });

  it('a head that takes no bytes leaves them all', async () => {
    const [near, far] = await pair();
    near.write('abcd');
    expect(await readHead(far, () => ({ value: 'peeked', used: 0 }), options)).toBe('peeked');
    expect(await readHead(far, four, options)).toBe('abcd');
  });

  it.each<[string, (near: Socket) => void, Partial<Parameters<typeof readHead>[2]>, string]>([
    ['an early end', (near) => near.end('ab'), {}, 'LINK_LOST'],
    ['a reset', (near) => near.resetAndDestroy(), {}, 'LINK_LOST'],
    ['silence', () => {}, { timeoutMs: 50 }, 'TIMEOUT'],
    ['too many bytes', (near) => near.write('x'.repeat(9)), {}, 'PROTOCOL'],
    ['a signal', () => {}, { signal: AbortSignal.abort() }, 'CANCELLED'],
  ])('fails on %s', async (_name, act, more, code) => {
    const [near, far] = await pair();
    const head = readHead(far, () => undefined, { ...options, ...more });
    act(near);
    await expect(head).rejects.toMatchObject({ code });
  });

  it('passes on what the parser throws', async () => {
    const [near, far] = await pair();
    near.write('x');
    const wrong = new BridgeError('PROTOCOL', 'wrong');
    const head = readHead(
      far,
      () => {
        throw wrong;
      },
      options,
    );
    await expect(head).rejects.toBe(wrong);
  });
});
