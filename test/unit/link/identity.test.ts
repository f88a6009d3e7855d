/** Links between sides with and without tokens, seen on the stream. */
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { decodeHello, encodeHello, type Hello } from '../../../shared/control-codec.ts';
import { establishLink } from '../../../shared/link/establish.ts';
import { decodeHandshake, encodeHandshake } from '../../../shared/link/handshake.ts';
import { LinkIdentity } from '../../../shared/link/identity.ts';
import type { Link, LinkOptions } from '../../../shared/link/link.ts';
import { proofOf } from '../../../shared/link/proof.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { duplexPair } from '../p9/duplex-pair.ts';

const TOKEN = Buffer.from('0123456789abcdef0123456789abcdef');
const OTHER = Buffer.from('fedcba9876543210fedcba9876543210');
const { signal } = new AbortController();

function begin(
  stream: Duplex,
  role: 'host' | 'shim',
  token: Buffer | undefined,
  changes: Partial<LinkOptions> = {},
): Promise<Link> {
  stream.pause();
  return establishLink(stream, {
    identity: new LinkIdentity(role),
    dialled: role === 'host',
    legacyPeer: false,
    ...(token === undefined ? {} : { readToken: () => Promise.resolve(token) }),
    log: silentLogger(),
    signal,
    chooseLane: () => 'multiplexed',
    onChannel: () => {},
    onStreamReset: () => {},
    ...changes,
  });
}

/** Both ends of a link that may fail: the code of each, or `up`. */
async function between(host: Buffer | undefined, shim: Buffer | undefined): Promise<string[]> {
  const [near, far] = duplexPair();
  const ends = await Promise.allSettled([begin(near, 'host', host), begin(far, 'shim', shim)]);
  return ends.map((end) => {
    if (end.status === 'rejected') return `${end.reason.code}: ${end.reason.message}`;
    end.value.close();
    return 'up';
  });
}

describe('a link', () => {
  it('is up between two that have the same token, whoever dialled', async () => {
    expect(await between(TOKEN, TOKEN)).toEqual(['up', 'up']);
    const [near, far] = duplexPair();
    const links = await Promise.all([
      begin(near, 'host', TOKEN, { dialled: false }),
      begin(far, 'shim', TOKEN, { dialled: true }),
    ]);
    expect(links[0].streamKey).toEqual(links[1].streamKey);
    for (const link of links) link.close();
  });

  it('is refused between different tokens', async () => {
    expect(await between(TOKEN, OTHER)).toEqual([
      expect.stringMatching(/^AUTH_FAILED: the peer closed instead of proving/),
      expect.stringMatching(/^AUTH_FAILED: the peer did not prove that it has our token/),
    ]);
  });

  it('is refused where one side has none, and both say which', async () => {
    const asked = expect.stringMatching(/^AUTH_FAILED: the peer asks for proof of a token, and we have none/);
    const asks = expect.stringMatching(/^AUTH_FAILED: we ask for proof of our token, and the peer has none/);
    expect(await between(TOKEN, undefined)).toEqual([asks, asked]);
    expect(await between(undefined, TOKEN)).toEqual([asked, asks]);
  });

  it('is refused to a vpnkit where there is a token, in spite of --legacy-peer', async () => {
    const [near, far] = duplexPair();
    far.write(encodeHandshake(Buffer.alloc(0)));
    const link = begin(near, 'host', TOKEN, { legacyPeer: true });
    await expect(link).rejects.toMatchObject({
      code: 'AUTH_FAILED',
      message: expect.stringMatching(/no vpnkit/),
    });
  });

  it('is refused when somebody on the way has changed a hello', async () => {
    const [near, meddler1] = duplexPair();
    const [meddler2, far] = duplexPair();
    const change = (hello: Hello): Hello => ({
      ...hello,
      features: hello.features.filter((feature) => feature !== 'dedicated'),
    });
    meddle(meddler1, meddler2, change);
    meddle(meddler2, meddler1, (hello) => hello);
    const ends = await Promise.allSettled([begin(near, 'host', TOKEN), begin(far, 'shim', TOKEN)]);
    expect(ends.map((end) => end.status === 'rejected' && end.reason.code)).toEqual([
      'AUTH_FAILED',
      'AUTH_FAILED',
    ]);
  });
});

/** Passes on what `from` says, its hello changed. */
function meddle(from: Duplex, to: Duplex, change: (hello: Hello) => Hello): void {
  let seen: Buffer | undefined = Buffer.alloc(0);
  from.on('data', (chunk: Buffer) => {
    if (seen === undefined) return void to.write(chunk);
    seen = Buffer.concat([seen, chunk]);
    const head = decodeHandshake(seen);
    if (head === undefined) return;
    to.write(encodeHandshake(encodeHello(change(decodeHello(head.value)))));
    to.write(seen.subarray(head.used));
    seen = undefined;
  });
  from.on('close', () => to.destroy());
}

/** A peer that has no token but pretends to: what it is told until the link is refused. */
async function pretend(
  role: 'host' | 'shim',
  proof: (ours: Buffer, theirs: Buffer) => Buffer,
): Promise<{ told: Buffer; failure: Promise<Link> }> {
  const [near, far] = duplexPair();
  const told: Buffer[] = [];
  const failure = begin(far, role, TOKEN, { dialled: false });
  failure.catch(() => {});
  const ours = encodeHello({
    ...new LinkIdentity(role === 'host' ? 'shim' : 'host').nextHello(Buffer.alloc(32)),
  });
  near.write(encodeHandshake(ours));
  let answered = false;
  near.on('data', (chunk: Buffer) => {
    told.push(chunk);
    const head = decodeHandshake(Buffer.concat(told));
    if (head === undefined || answered) return;
    answered = true;
    near.write(proof(ours, head.value));
  });
  await new Promise((resolve) => near.on('close', resolve));
  return { told: Buffer.concat(told), failure };
}

describe('a peer without the token', () => {
  it.each([
    ['zeros', () => Buffer.alloc(32)],
    [
      'a proof under another token',
      (ours: Buffer, theirs: Buffer) => proofOf(OTHER, 'dialler', { dialler: ours, acceptor: theirs }),
    ],
    [
      'a true proof of the other side',
      (ours: Buffer, theirs: Buffer) => proofOf(TOKEN, 'acceptor', { dialler: ours, acceptor: theirs }),
    ],
    [
      'a true proof of other hellos',
      (ours: Buffer) =>
        proofOf(TOKEN, 'dialler', { dialler: ours, acceptor: Buffer.from('of an earlier link') }),
    ],
    ['frames', () => Buffer.alloc(4_096, 0xff)],
  ])('that sends %s hears our hello and nothing else', async (_name, proof) => {
    for (const role of ['host', 'shim'] as const) {
      const { told, failure } = await pretend(role, proof);
      await expect(failure).rejects.toMatchObject({ code: 'AUTH_FAILED' });
      expect(decodeHandshake(told)!.used).toBe(told.length);
    }
  });

  it('that sends back our own hello is refused for its role', async () => {
    const [near, far] = duplexPair();
    near.pipe(near);
    await expect(begin(far, 'host', TOKEN)).rejects.toMatchObject({
      code: 'PROTOCOL',
      message: expect.stringMatching(/both sides are a host agent/),
    });
  });
});

it('a token that cannot be read refuses the link, and nothing is said on the stream', async () => {
  const [near, far] = duplexPair();
  const heard: Buffer[] = [];
  near.on('data', (chunk) => heard.push(chunk));
  const readToken = () => Promise.reject(new Error('chmod 600'));
  await expect(begin(far, 'host', undefined, { readToken })).rejects.toThrow('chmod 600');
  expect(far.destroyed).toBe(true);
  expect(heard).toEqual([]);
});

it('every link has a nonce of its own', async () => {
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const [near, far] = duplexPair();
    const link = begin(near, 'host', TOKEN);
    const hello = await new Promise<Hello>((resolve) => {
      far.once('data', (chunk: Buffer) => resolve(decodeHello(decodeHandshake(chunk)!.value)));
    });
    seen.add(hello.nonce!.toString('hex'));
    far.destroy();
    await expect(link).rejects.toThrow();
  }
  expect(seen.size).toBe(20);
});
