/** What a link may expect of a transport, on every transport. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { silentLogger } from '../../shared/logger.ts';
import { parseAddress } from '../../shared/transport/address.ts';
import { createDialer, dial } from '../../shared/transport/dial.ts';
import { listen } from '../../shared/transport/listen.ts';

const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const never = new AbortController().signal;
const log = silentLogger();

describe.each([
  ['unix', `unix://${dir}/listen.sock`, `unix://${dir}/nobody.sock`],
  ['tcp', 'tcp://127.0.0.1:0', 'tcp://127.0.0.1:1'],
  ['tcp over IPv6', 'tcp://[::1]:0', 'tcp://[::1]:1'],
])('%s', (scheme, url, nobody) => {
  async function pair(): Promise<{ near: Socket; far: Socket; close: () => Promise<void>; at: string }> {
    let accepted: (socket: Socket) => void;
    const arrival = new Promise<Socket>((resolve) => {
      accepted = resolve;
    });
    const listener = await listen(parseAddress(url), 'host', (socket) => accepted(socket), log);
    const near = await dial(parseAddress(listener.url), never);
    return { near, far: await arrival, close: () => listener.close(), at: listener.url };
  }

  it('carries bytes, and a half-close either way', async () => {
    const { near, far, close } = await pair();
    near.end('question');
    far.resume();
    const [question] = (await once(far, 'data')) as [Buffer];
    await once(far, 'end');
    far.end('answer');
    near.resume();
    const [answer] = (await once(near, 'data')) as [Buffer];
    await once(near, 'end');
    expect([question.toString(), answer.toString()]).toEqual(['question', 'answer']);
    await close();
  });

  it('says that nobody listens there, with the URL and what to look at', async () => {
    await expect(dial(parseAddress(nobody), never)).rejects.toMatchObject({
      code: 'NO_LINK',
      message: expect.stringMatching(
        new RegExp(`${nobody.replace(/[[\]]/g, '\\$&')}.*is the other side running`),
      ),
    });
  });

  it('refuses to listen twice, and can be listened on again after a close', async () => {
    const { near, far, close, at } = await pair();
    await expect(listen(parseAddress(at), 'host', () => {}, log)).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(at),
    });
    if (scheme === 'unix') expect(statSync(at.slice('unix://'.length)).mode & 0o777).toBe(0o600);
    near.destroy();
    far.destroy();
    await close();
    const again = await listen(parseAddress(at), 'host', () => {}, log);
    await again.close();
  });

  it('gives up a dial that is cancelled', async () => {
    const cancel = new AbortController();
    cancel.abort();
    await expect(dial(parseAddress(url), cancel.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('declares what it is', () => {
    const { traits } = createDialer(parseAddress(url), 'host');
    expect(traits).toEqual({ manyStreams: true, halfClose: true, whoDials: 'host' });
  });
});
