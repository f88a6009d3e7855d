/** What unix sockets of other systems answer is simulated: ECONNREFUSED for a full backlog. */
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { dialDestination } from '../../../shared/transport/dial-destination.ts';
import { whileBacklogIsFull } from '../../../shared/transport/full-backlog.ts';
import { connectSocket } from '../../../shared/transport/socket-dial.ts';

const PATH = '/run/service.sock';

/** Fails so often, then connects. */
function failing(code: string, times: number) {
  const seen = { attempts: 0 };
  const attempt = async (): Promise<string> => {
    if (++seen.attempts <= times)
      throw new BridgeError('NO_LINK', 'no', { cause: Object.assign(new Error(code), { code }) });
    return 'connected';
  };
  return { seen, attempt };
}

it.each([
  ['EAGAIN', PATH, 'linux'],
  ['EAGAIN', PATH, 'darwin'],
  ['ECONNREFUSED', PATH, 'darwin'],
  ['ECONNREFUSED', PATH, 'freebsd'],
] as const)('%s at %s on %s is tried again', async (code, path, platform) => {
  const { attempt, seen } = failing(code, 3);
  expect(await whileBacklogIsFull(path, attempt, platform)).toBe('connected');
  expect(seen.attempts).toBe(4);
});

it.each([
  ['ECONNREFUSED', PATH, 'linux'],
  ['ECONNREFUSED', '\\\\.\\pipe\\x', 'win32'],
  ['ECONNREFUSED', undefined, 'darwin'],
  ['ENOENT', PATH, 'darwin'],
] as const)('%s at %s on %s is final', async (code, path, platform) => {
  const { attempt, seen } = failing(code, 1);
  await expect(whileBacklogIsFull(path, attempt, platform)).rejects.toThrow('no');
  expect(seen.attempts).toBe(1);
});

describe('on macOS, a refusal that lasts', () => {
  const { platform } = process;
  const { signal } = new AbortController();
  let dir: string;
  let path: string;
  let connects: { readonly mock: { readonly calls: readonly unknown[] } };

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'portferry-full-'));
    path = join(dir, 'a.sock');
    const listens = createServer().listen(path);
    await once(listens, 'listening');
    renameSync(path, `${path}.kept`); // else it would go with its server
    listens.close();
    renameSync(`${path}.kept`, path);
    connects = vi.spyOn(Socket.prototype, 'connect');
  });
  afterEach(() => {
    Object.defineProperty(process, 'platform', { value: platform });
    vi.restoreAllMocks();
    rmSync(dir, { recursive: true });
  });

  const dials: Array<[string, () => Promise<unknown>]> = [
    ['a link', () => connectSocket({ path }, `unix://${path}`, signal)],
    ['a service', () => dialDestination({ protocol: 'unix', path }, signal)],
  ];

  it.each(dials)('is told to who dials %s, in the end', async (_what, dial) => {
    Object.defineProperty(process, 'platform', { value: 'darwin' });
    await expect(dial()).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    expect(connects.mock.calls.length).toBe(31);
  });

  it.each(dials)('is told to who dials %s at once on Linux', async (_what, dial) => {
    Object.defineProperty(process, 'platform', { value: 'linux' });
    await expect(dial()).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    expect(connects.mock.calls.length).toBe(1);
  });
});
