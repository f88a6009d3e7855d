/**
 * The control messages by which a VM shim makes claims over the link, and the checks on them; docs/protocol.md says
 * who sends what when. Ids are the shim's, unique for as long as its process lives.
 */
import { BridgeError, type ErrorCode, isErrorCode } from './errors.ts';

/** Longest spec in a message, bytes; the longest that parseSpec takes has about 300. */
export const MAX_SPEC_BYTES = 512;
/** Longest error text in a message, characters; longer ones are cut. */
export const MAX_REASON = 1_024;
/** Most claims of one shim. */
export const MAX_CLAIMS = 4_096;
/** Most claims in one `claims` message, so that it stays under the size limit of control messages. */
export const CLAIMS_PER_MESSAGE = 256;

/** One wish of the shim: the full notation of a forward, under the shim's number for it. */
export interface WantedClaim {
  readonly id: number;
  readonly spec: string;
}

/** The text is for people. */
export interface Refusal {
  readonly id: number;
  readonly code: ErrorCode;
  readonly text: string;
}

export type ClaimMessage =
  /** Shim to host, first on every link: all that it wants, in parts; `more` says that another part follows. */
  | { readonly type: 'claims'; readonly claims: readonly WantedClaim[]; readonly more: boolean }
  /** Shim to host: one more. */
  | ({ readonly type: 'claim' } & WantedClaim)
  /** Shim to host: one less; `now` also ends its running connections. */
  | { readonly type: 'unclaim'; readonly id: number; readonly now: boolean }
  /** Host to shim: it is published; the spec is resolved, `note` says what is special about it. */
  | ({ readonly type: 'claimed'; readonly note: string } & WantedClaim)
  /** Host to shim: it is not published, or no longer. */
  | ({ readonly type: 'refused' } & Refusal)
  /** Host to shim: what was unclaimed is released. */
  | { readonly type: 'unclaimed'; readonly id: number };

/** What to send for anything that went wrong with a claim. */
export function refusal(id: number, error: unknown): ClaimMessage {
  return { type: 'refused', ...refusalOf(id, error) };
}

export function refusalOf(id: number, error: unknown): Refusal {
  const code = error instanceof BridgeError ? error.code : 'IO';
  const text = error instanceof Error ? error.message : String(error);
  return { id, code, text: text.slice(0, MAX_REASON) };
}

/** Why a claim is over that somebody on the host has removed. @param spec with its ports resolved */
export function removedOnHost(spec: string): BridgeError {
  return new BridgeError('CANCELLED', `${spec} was removed on the host`);
}

/** The message that a decoded map is; undefined when it is none of these. @throws BridgeError PROTOCOL */
export function readClaimMessage(map: Record<string, unknown>): ClaimMessage | undefined {
  const { type } = map;
  switch (type) {
    case 'claims': {
      const { claims, more } = map;
      if (!Array.isArray(claims) || claims.length > CLAIMS_PER_MESSAGE || typeof more !== 'boolean')
        throw malformed(type);
      return { type, claims: claims.map((each) => readWanted(each, type)), more };
    }
    case 'claim':
      return { type, ...readWanted(map, type) };
    case 'unclaim':
      if (typeof map.now !== 'boolean') throw malformed(type);
      return { type, id: readId(map, type), now: map.now };
    case 'claimed':
      if (typeof map.note !== 'string' || map.note.length > MAX_REASON) throw malformed(type);
      return { type, ...readWanted(map, type), note: map.note };
    case 'refused':
      return { type, ...readRefusal(map, type) };
    case 'unclaimed':
      return { type, id: readId(map, type) };
    default:
      return undefined;
  }
}

/** A number and a spec of a message of that type. @throws BridgeError PROTOCOL */
export function readWanted(value: unknown, type: string): WantedClaim {
  if (typeof value !== 'object' || value === null) throw malformed(type);
  const { spec } = value as Record<string, unknown>;
  if (typeof spec !== 'string' || Buffer.byteLength(spec) > MAX_SPEC_BYTES) throw malformed(type);
  return { id: readId(value as Record<string, unknown>, type), spec };
}

/** Who is refused, and why. @throws BridgeError PROTOCOL */
export function readRefusal(map: Record<string, unknown>, type: string): Refusal {
  const { code, text } = map;
  if (typeof code !== 'string' || typeof text !== 'string' || text.length > MAX_REASON) throw malformed(type);
  // A code of a later version still refuses.
  return { id: readId(map, type), code: isErrorCode(code) ? code : 'REFUSED', text };
}

function readId({ id }: Record<string, unknown>, type: string): number {
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) throw malformed(type);
  return id;
}

export function malformed(type: string): BridgeError {
  return new BridgeError(
    'PROTOCOL',
    `control message "${type}" lacks a field or has one of a wrong type or size`,
  );
}
