/**
 * The control messages of reverse forwards, and the checks on them; docs/protocol.md says who sends what when. Ids are
 * the host agent's, below 2^32 and unique for as long as its process lives.
 */
import { malformed, type Refusal, readRefusal, readWanted, type WantedClaim } from './claim-messages.ts';

/** Most reverse forwards of one VM: all of them are in one message. */
export const MAX_REVERSE = 256;
/** Above any id. */
const ID_END = 2 ** 32;

export type ReverseMessage =
  /** Host to shim, on every new link and after every change: all that are to be open. */
  | { readonly type: 'reverse'; readonly forwards: readonly WantedClaim[] }
  /** Shim to host: it is open; the spec is resolved. */
  | ({ readonly type: 'reversed' } & WantedClaim)
  /** Shim to host: it is not open. */
  | ({ readonly type: 'reverse-refused' } & Refusal);

export function isReverseMessage(message: { readonly type: string }): message is ReverseMessage {
  return message.type.startsWith('reverse');
}

/** The message that a decoded map is; undefined when it is none of these. @throws BridgeError PROTOCOL */
export function readReverseMessage(map: Record<string, unknown>): ReverseMessage | undefined {
  const { type } = map;
  switch (type) {
    case 'reverse': {
      const { forwards } = map;
      if (!Array.isArray(forwards) || forwards.length > MAX_REVERSE) throw malformed(type);
      return { type, forwards: forwards.map((each) => checked(readWanted(each, type), type)) };
    }
    case 'reversed':
      return { type, ...checked(readWanted(map, type), type) };
    case 'reverse-refused':
      return { type, ...checked(readRefusal(map, type), type) };
    default:
      return undefined;
  }
}

/** Channels name it in 32 bits. */
function checked<T extends { readonly id: number }>(value: T, type: string): T {
  if (value.id >= ID_END) throw malformed(type);
  return value;
}
