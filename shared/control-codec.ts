/**
 * The hello and the control messages of a link: msgpack maps, checked against a schema before use because
 * the decoder also accepts typed arrays, records and extension types. The only import of msgpackr.
 */
// Not 'msgpackr' itself, which looks for its native part: 40 ms of every start, for messages that are few.
import { Packr } from 'msgpackr/pack';
import { Unpackr } from 'msgpackr/unpack';
import { type ClaimMessage, readClaimMessage } from './claim-messages.ts';
import { BridgeError, messageOf } from './errors.ts';
import { STREAM_KEY_BYTES } from './preface.ts';
import { type ReverseMessage, readReverseMessage } from './reverse-messages.ts';
import type { Lane } from './transport/choose.ts';

/** What each side says of itself when a link begins. */
export interface Hello {
  /** Version of the link protocol: 1. */
  readonly version: number;
  /** Name and version of the program, for logs. */
  readonly implementation: string;
  readonly role: 'host' | 'shim';
  /** Random id of this process, 32 hex digits: another one means that the process started anew. */
  readonly instance: string;
  /** How many links this process has begun: tells a stale hello from a new one. */
  readonly epoch: number;
  /** Extensions this side knows; those of both are used. */
  readonly features: readonly string[];
  /** Drawn for this link, NONCE_BYTES: this side has a token and wants proof that the other has it too. */
  readonly nonce?: Buffer;
}

/** Every extension of vpnkit's protocol that we speak; docs/protocol.md says what each means. */
export const FEATURES = [
  'control',
  'dial-result',
  'reset',
  'dedicated',
  'udp-flows',
  'claims',
  'spare-streams',
  'ping',
  'details',
  'reverse',
] as const;
export type Feature = (typeof FEATURES)[number];
/** What some cannot do without: it carries their messages, or what they begin with. All earlier in FEATURES. */
const NEEDED: Readonly<Partial<Record<Feature, readonly Feature[]>>> = {
  dedicated: ['control'],
  claims: ['control'],
  'spare-streams': ['dedicated'],
  reverse: ['control', 'details'],
};

export const LINK_VERSION = 1;
/** Length of a nonce in a hello. */
export const NONCE_BYTES = 32;
/** Largest hello that is read, bytes. */
export const MAX_HELLO_BYTES = 4096;

export type ControlMessage =
  /**
   * Host to shim, first: the key that prefaces of this link's dedicated streams carry, and how the host is going to
   * carry connections. The host says no more before it has heard `started`.
   */
  | { readonly type: 'start'; readonly streamKey: Buffer; readonly lane?: Lane }
  /** Shim to host: the link is up. */
  | { readonly type: 'started' }
  /** Host to shim: this many spare streams are to be open and unused at any time. */
  | { readonly type: 'spares'; readonly count: number }
  | ClaimMessage
  | ReverseMessage;

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** Those that both sides know, without any that the peer lists without what it needs. */
export function agreedFeatures(peer: Hello): ReadonlySet<Feature> {
  const agreed = new Set<Feature>();
  for (const feature of FEATURES) {
    const needed = NEEDED[feature] ?? [];
    if (peer.features.includes(feature) && needed.every((each) => agreed.has(each))) agreed.add(feature);
  }
  return agreed;
}

export function encodeHello(hello: Hello): Buffer {
  return Buffer.from(packr.pack({ ...hello, features: [...hello.features] }));
}

/** @throws BridgeError PROTOCOL when the bytes are no hello, or one of another protocol version */
export function decodeHello(bytes: Buffer): Hello {
  if (bytes.length > MAX_HELLO_BYTES) throw new BridgeError('PROTOCOL', `hello of ${bytes.length} bytes`);
  const map = unpackMap(bytes, 'hello');
  const { version, implementation, role, instance, epoch, features, nonce } = map;
  const valid =
    isCount(version) &&
    isText(implementation, 128) &&
    (role === 'host' || role === 'shim') &&
    isText(instance, 32) &&
    /^[0-9a-f]{32}$/.test(instance) &&
    isCount(epoch) &&
    Array.isArray(features) &&
    features.length <= 64 &&
    features.every((feature) => isText(feature, 64)) &&
    (nonce === undefined || (Buffer.isBuffer(nonce) && nonce.length === NONCE_BYTES));
  if (!valid)
    throw new BridgeError('PROTOCOL', 'the hello of the peer lacks a field or has one of a wrong type');
  if (version !== LINK_VERSION)
    throw new BridgeError(
      'PROTOCOL',
      `the peer (${implementation}) speaks link version ${version}, we speak ${LINK_VERSION}: upgrade the older side`,
    );
  const hello: Hello = { version, implementation, role, instance, epoch, features: features as string[] };
  return nonce === undefined ? hello : { ...hello, nonce: Buffer.from(nonce as Buffer) };
}

export function encodeControl(message: ControlMessage): Buffer {
  return Buffer.from(packr.pack(message));
}

/** @throws BridgeError PROTOCOL */
export function decodeControl(bytes: Buffer): ControlMessage {
  const map = unpackMap(bytes, 'control message');
  switch (map.type) {
    case 'started':
      return { type: 'started' };
    case 'start': {
      const key = map.streamKey;
      if (!Buffer.isBuffer(key) || key.length !== STREAM_KEY_BYTES)
        throw new BridgeError('PROTOCOL', 'control message "start" without a stream key');
      const start = { type: 'start', streamKey: Buffer.from(key) } as const;
      const { lane } = map;
      return lane === 'dedicated' || lane === 'multiplexed' ? { ...start, lane } : start;
    }
    case 'spares': {
      const { count } = map;
      if (!isCount(count)) throw new BridgeError('PROTOCOL', 'control message "spares" without a count');
      return { type: 'spares', count };
    }
    default: {
      const message = readClaimMessage(map) ?? readReverseMessage(map);
      if (message === undefined) throw new BridgeError('PROTOCOL', 'control message of an unknown type');
      return message;
    }
  }
}

function unpackMap(bytes: Buffer, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = unpackr.unpack(bytes);
  } catch (error) {
    throw new BridgeError('PROTOCOL', `${what} is not msgpack: ${messageOf(error)}`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    throw new BridgeError('PROTOCOL', `${what} is not a map`);
  return value as Record<string, unknown>;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isText(value: unknown, max: number): value is string {
  return typeof value === 'string' && value.length <= max;
}
