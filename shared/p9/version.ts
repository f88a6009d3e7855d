import { BridgeError } from '../errors.ts';
import type { Dialect } from './types.ts';

/**
 * The stat of the longest name that Linux has (255 bytes) fits in a read of so much, so that no listing has to end early. Linux itself
 * refuses less than 4096.
 */
export const MIN_MSIZE = 512;
/**
 * What Linux asks for by default (DEFAULT_MSIZE in net/9p, 128 KiB). More would gain nothing for a tree of small texts, and
 * this bounds what one connection can make us hold.
 */
export const MAX_MSIZE = 128 * 1024;

export interface Negotiated {
  readonly msize: number;
  /** undefined: we have no version in common, the client is told `unknown`. */
  readonly dialect: Dialect | undefined;
}

/**
 * Answers a Tversion (version(5)): the smaller msize, and the dialect asked for; a suffix that we do not know falls back to
 * what stands before the period.
 */
export function negotiate(msize: number, version: string, maxMsize: number): Negotiated {
  if (msize < MIN_MSIZE) {
    throw new BridgeError('BAD_REQUEST', `msize ${msize} is too small; at least ${MIN_MSIZE} is needed`);
  }
  return { msize: Math.min(msize, maxMsize), dialect: dialectFor(version) };
}

function dialectFor(version: string): Dialect | undefined {
  if (version === '9P2000.L' || version === '9P2000.u') return version;
  return version === '9P2000' || version.startsWith('9P2000.') ? '9P2000' : undefined;
}
