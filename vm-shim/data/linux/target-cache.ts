import { type Destination, describeDestination } from '../../../shared/destination.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { PLAIN_TCP, PLAIN_UNIX } from '../../../shared/platform/linux/side.ts';
import { encodeSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import type { DialTarget } from '../../../shared/platform/linux/stream-dial.ts';
import { decodePreface, PREFACE_MAGIC, STREAM_KEY_BYTES } from '../../../shared/preface.ts';
import type { StreamDetails } from '../../../shared/stream-details.ts';

/** What is to be dialled. Its address is empty for what none can say, and for datagrams. */
export interface Target extends DialTarget {
  readonly what: string;
  /** Of its socket, seconds; undefined for none. */
  readonly keepalive: number | undefined;
}

/** Where a stream is to go. */
export interface StreamTarget extends Target {
  readonly streamKey: Buffer;
  readonly destination: Destination;
  /** What was said besides, where it was more than the client's address. */
  readonly details: StreamDetails | undefined;
}

/** How long a container may take to accept, milliseconds. */
const DIAL_MS = 10_000;

const MAX_TARGETS = 1_024;
/** Where key and destination are in a preface; shared/preface.ts has the layout. */
const KEY_AT = 10;
const DESTINATION_AT = KEY_AT + STREAM_KEY_BYTES;

/**
 * Decodes prefaces. Most of them name a link and a destination that were named before, so what those decode to is kept,
 * found by their bytes.
 */
export class TargetCache {
  private readonly targets = new Map<string, StreamTarget>();

  /** @returns undefined while it is incomplete. @throws BridgeError PROTOCOL */
  decode(bytes: Buffer): { target: StreamTarget; streamId: number; used: number } | undefined {
    if (bytes.length < DESTINATION_AT + 3 || bytes[0] !== PREFACE_MAGIC[0] || bytes[1] !== PREFACE_MAGIC[1])
      return this.decodeNew(bytes);
    const used = bytes.readUInt16LE(2);
    const end = DESTINATION_AT + 3 + bytes.readUInt16LE(DESTINATION_AT + 1);
    // Version, key and the destination but for its port, which follows.
    const key = bytes.toString('latin1', 4, Math.min(end + 2, used));
    const common = used <= bytes.length && end + 2 < used && used === endOfClient(bytes, end + 2);
    const target = common ? this.targets.get(sameStream(key)) : undefined;
    if (target === undefined) return this.decodeNew(bytes);
    return { target, streamId: bytes.readUInt32LE(6), used };
  }

  private decodeNew(bytes: Buffer): { target: StreamTarget; streamId: number; used: number } | undefined {
    const decoded = decodePreface(bytes);
    if (decoded === undefined) return undefined;
    const { value, used } = decoded;
    const { streamId, streamKey, destination } = value;
    const end = DESTINATION_AT + 3 + bytes.readUInt16LE(DESTINATION_AT + 1);
    const common = destination.protocol === 'tcp' && used === endOfClient(bytes, end + 2);
    const details = common ? undefined : value;
    const target = { streamKey, destination, details, ...targetOf(destination, details?.keepalive) };
    if (common) {
      if (this.targets.size >= MAX_TARGETS) this.targets.clear();
      this.targets.set(sameStream(bytes.toString('latin1', 4, end + 2)), target);
    }
    return { target, streamId, used };
  }
}

/** Where a preface ends that says no more than who the client is. @param at of the client's address */
function endOfClient(bytes: Buffer, at: number): number {
  const family = bytes[at];
  return at + (family === 4 ? 7 : family === 6 ? 19 : 1);
}

/** Takes the stream id, the only thing that differs, out of a key that begins at byte 4. */
function sameStream(key: string): string {
  return key.slice(0, 2) + key.slice(6);
}

/** @param keepalive of its socket, seconds */
export function targetOf(destination: Destination, keepalive?: number): Target {
  const target = { what: describeDestination(destination), withinMs: DIAL_MS, keepalive };
  try {
    if (destination.protocol === 'udp') return { ...target, kind: PLAIN_TCP, sockaddr: NOWHERE };
    if (destination.protocol === 'unix') {
      const sockaddr = encodeSockaddr({ family: 'unix', path: destination.path });
      return { ...target, kind: PLAIN_UNIX, sockaddr };
    }
    const { ip, port } = destination;
    return { ...target, kind: PLAIN_TCP, sockaddr: encodeSockaddr({ family: 'ip', ip, port }) };
  } catch (error) {
    if (error instanceof BridgeError) return { ...target, kind: PLAIN_UNIX, sockaddr: NOWHERE };
    throw error;
  }
}

const NOWHERE = Buffer.alloc(0);
