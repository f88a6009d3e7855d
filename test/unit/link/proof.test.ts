import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Hellos,
  isProofOf,
  PROOF_BYTES,
  proofOf,
  prove,
  takeProof,
} from '../../../shared/link/proof.ts';
import { duplexPair } from '../p9/duplex-pair.ts';

const TOKEN = Buffer.from('0123456789abcdef0123456789abcdef');
const HELLOS: Hellos = { dialler: Buffer.from('hello of a host'), acceptor: Buffer.from('hello of a shim') };
const { signal } = new AbortController();
const bytes = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each));

describe('a proof', () => {
  it('is HMAC-SHA-256 of the label, who proves, and both hellos with their lengths', () => {
    // printf 'portferry link proof 1\0dialler\0\17\0\0\0hello of a host\17\0\0\0hello of a shim' |
    //   openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    expect(proofOf(TOKEN, 'dialler', HELLOS).toString('hex')).toBe(
      'a92ba93c92271bd2715e34c00434d766aee40c08d9ff0a23ca66631c0bef0742',
    );
  });

  it('is good for one token, one side and one pair of hellos only', () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, bytes, bytes, (token, dialler, acceptor, changed, other) => {
        const hellos = { dialler, acceptor };
        const proof = proofOf(token, 'dialler', hellos);
        expect(isProofOf(proof, token, 'dialler', hellos)).toBe(true);
        expect(isProofOf(proof, token, 'acceptor', hellos)).toBe(false);
        const swapped = { dialler: acceptor, acceptor: dialler };
        expect(isProofOf(proof, token, 'dialler', swapped)).toBe(dialler.equals(acceptor));
        for (const [d, a] of [
          [changed, acceptor],
          [dialler, changed],
          [changed, other],
          // The same bytes, cut elsewhere.
          [Buffer.concat([dialler, acceptor.subarray(0, 1)]), acceptor.subarray(1)],
        ] as const) {
          const same = d.equals(dialler) && a.equals(acceptor);
          expect(isProofOf(proof, token, 'dialler', { dialler: d, acceptor: a })).toBe(same);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('of another length is none', () => {
    const proof = proofOf(TOKEN, 'dialler', HELLOS);
    for (const wrong of [Buffer.alloc(0), proof.subarray(1), Buffer.concat([proof, proof])])
      expect(isProofOf(wrong, TOKEN, 'dialler', HELLOS)).toBe(false);
  });

  it('is cut out of whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (some) => {
        const all = Buffer.from(some);
        const taken = takeProof(all);
        if (all.length < PROOF_BYTES) expect(taken).toBeUndefined();
        else expect(taken).toEqual({ value: all.subarray(0, PROOF_BYTES), used: PROOF_BYTES });
      }),
    );
  });
});

describe('proving', () => {
  const common = { hellos: HELLOS, timeoutMs: 5_000, signal };
  const dialler = { ...common, token: TOKEN, side: 'dialler' } as const;
  const acceptor = { ...common, token: TOKEN, side: 'acceptor' } as const;

  it('succeeds between two that have the same token, and leaves what follows', async () => {
    const [near, far] = duplexPair();
    near.pause();
    far.pause();
    await Promise.all([prove(near, dialler), prove(far, acceptor)]);
    far.write('frames');
    await new Promise((resolve) => near.once('readable', resolve));
    expect(String(near.read())).toBe('frames');
  });

  it('the side that was dialled gives no proof to who has another token', async () => {
    const [near, far] = duplexPair();
    const heard: Buffer[] = [];
    near.on('data', (chunk) => heard.push(chunk));
    near.write(proofOf(Buffer.from('another token'), 'dialler', HELLOS));
    await expect(prove(far, acceptor)).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    expect(heard).toEqual([]);
  });

  it('the side that dialled is not convinced by its own proof', async () => {
    const [near, far] = duplexPair();
    far.on('data', (chunk) => far.write(chunk));
    await expect(prove(near, dialler)).rejects.toMatchObject({ code: 'AUTH_FAILED' });
  });

  it('a peer that closes instead has another token; one that is silent is told so', async () => {
    const [near, far] = duplexPair();
    const refused = expect(prove(near, dialler)).rejects.toMatchObject({
      code: 'AUTH_FAILED',
      message: expect.stringMatching(/closed instead of proving.*--token-file/),
    });
    far.destroy();
    await refused;
    const [silent] = duplexPair();
    await expect(prove(silent, { ...dialler, timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });
});
