/**
 * How the sides of a link prove to each other that they have the same token, behind their hellos and before anything
 * else. A proof is HMAC-SHA-256 under the token over who proves and over both hellos, byte for byte as they were sent.
 * These have a fresh nonce of each side, both roles, instance ids, the version and the features, so a proof is good for
 * this one link and this one side of it, and nobody on the way can have changed what was negotiated.
 *
 * The side that dialled proves first: who connects without the token is given none.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { BridgeError } from '../errors.ts';
import { readHead } from './read-head.ts';

export const PROOF_BYTES = 32;
const LABEL = Buffer.from('portferry link proof 1\0', 'latin1');

export type Side = 'dialler' | 'acceptor';

/** The payloads of both handshakes, as they were sent. */
export interface Hellos {
  readonly dialler: Buffer;
  readonly acceptor: Buffer;
}

/** What `prover` sends to prove that it has the token: PROOF_BYTES. */
export function proofOf(token: Buffer, prover: Side, { dialler, acceptor }: Hellos): Buffer {
  const hmac = createHmac('sha256', token).update(LABEL).update(`${prover}\0`);
  for (const hello of [dialler, acceptor]) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(hello.length);
    hmac.update(length).update(hello);
  }
  return hmac.digest();
}

/** Whether `proof` is the one of `prover`; takes the same time for every wrong one. */
export function isProofOf(proof: Buffer, token: Buffer, prover: Side, hellos: Hellos): boolean {
  return proof.length === PROOF_BYTES && timingSafeEqual(proof, proofOf(token, prover, hellos));
}

export interface ProveOptions {
  readonly token: Buffer;
  /** Which side of the link we are. */
  readonly side: Side;
  readonly hellos: Hellos;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Proves to the peer that we have the token and has it prove the same.
 * @throws BridgeError AUTH_FAILED when it has not; TIMEOUT, LINK_LOST or CANCELLED
 */
export async function prove(stream: Duplex, options: ProveOptions): Promise<void> {
  const { token, side, hellos, timeoutMs, signal } = options;
  const peer = side === 'dialler' ? 'acceptor' : 'dialler';
  if (side === 'dialler') stream.write(proofOf(token, side, hellos));
  const proof = await readProof(stream, side, { timeoutMs, signal });
  if (!isProofOf(proof, token, peer, hellos))
    throw new BridgeError(
      'AUTH_FAILED',
      'the peer did not prove that it has our token: both sides need the same in --token-file',
    );
  if (side === 'acceptor') stream.write(proofOf(token, side, hellos));
}

async function readProof(
  stream: Duplex,
  side: Side,
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<Buffer> {
  try {
    return await readHead(stream, takeProof, { what: 'proof', maxBytes: PROOF_BYTES, ...options });
  } catch (error) {
    const refused = side === 'dialler' && error instanceof BridgeError && error.code === 'LINK_LOST';
    if (!refused) throw error;
    throw new BridgeError(
      'AUTH_FAILED',
      'the peer closed instead of proving that it has our token: both sides need the same in --token-file',
      { cause: error },
    );
  }
}

/** For `readHead`. */
export function takeProof(bytes: Buffer): { value: Buffer; used: number } | undefined {
  if (bytes.length < PROOF_BYTES) return undefined;
  return { value: Buffer.from(bytes.subarray(0, PROOF_BYTES)), used: PROOF_BYTES };
}
