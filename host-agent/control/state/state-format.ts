/**
 * The text of a state file: a line that names the format, its version and a checksum, then JSON with a forward a line.
 * The checksum covers the version and all that follows, so that a file that was cut off or changed is told from a whole
 * one, and a whole one of a later version from damage.
 */
import { createHash } from 'node:crypto';
import { BridgeError } from '../../../shared/errors.ts';

const NAME = 'portferry-state';
const VERSION = 1;
const HEAD = /^portferry-state (\d{1,9}) sha256 ([0-9a-f]{64})\n/;
/** Longest head, characters. */
const MAX_HEAD = 128;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A forward as it outlives the host agent. */
export interface SavedForward {
  /** In full notation, its port resolved; a text that a later version wrote may not be readable here. */
  readonly spec: string;
  readonly vm: string;
}

export type DecodedState =
  | { readonly forwards: readonly SavedForward[] }
  /** It is not what was written; the reason is for people. */
  | { readonly damaged: string };

/** The whole file. */
export function encodeState(forwards: readonly SavedForward[]): Buffer {
  const lines = forwards.map(({ spec, vm }) => JSON.stringify({ spec, vm }));
  const body = Buffer.from(`{"forwards":[\n${lines.join(',\n')}\n]}\n`);
  return Buffer.concat([Buffer.from(`${NAME} ${VERSION} sha256 ${checksum(VERSION, body)}\n`), body]);
}

/** @throws BridgeError UNSUPPORTED for a whole file of another version, which is nobody's to set aside */
export function decodeState(bytes: Buffer): DecodedState {
  if (bytes.length === 0) return { damaged: 'it is empty' };
  const head = HEAD.exec(bytes.subarray(0, MAX_HEAD).toString('latin1'));
  if (head === null) return { damaged: `its first line is not "${NAME} …"` };
  const version = Number(head[1]);
  const body = bytes.subarray(head[0].length);
  if (checksum(version, body) !== head[2])
    return { damaged: 'its checksum is wrong: it was cut off, or changed by somebody else' };
  if (version !== VERSION)
    throw new BridgeError(
      'UNSUPPORTED',
      `it is of version ${version}, this portferry knows version ${VERSION}; use the portferry that wrote it, or another file`,
    );
  return readBody(body);
}

function readBody(body: Buffer): DecodedState {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(body));
  } catch {
    return { damaged: 'it is not JSON' };
  }
  const forwards: unknown = (value as { forwards?: unknown } | null)?.forwards;
  if (!Array.isArray(forwards) || !forwards.every(isForward))
    return { damaged: 'it lacks a field, or has one of a wrong type' };
  return { forwards: forwards.map(({ spec, vm }) => ({ spec, vm })) };
}

function isForward(value: unknown): value is SavedForward {
  const { spec, vm } = (value ?? {}) as Record<string, unknown>;
  return typeof spec === 'string' && typeof vm === 'string';
}

function checksum(version: number, body: Buffer): string {
  return createHash('sha256').update(`${NAME} ${version}\n`).update(body).digest('hex');
}
