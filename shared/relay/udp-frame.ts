import { BridgeError } from '../errors.ts';
import { FrameAssembler } from './frame-assembler.ts';

/**
 * Datagrams on a byte stream, in two notations; all numbers are little-endian. Pure: bytes in, frames out.
 *
 * u16 frame, vpnkit's: u16 total (itself included), u16 iplen, ip, u16 port, u16 zonelen, zone, u16 length, payload.
 *
 * u32 frame, between two of ours: u32 total (itself included), u32 flow, u8 flags, u8 headerLength (all before the
 * payload), then with flag ADDRESSES the client's and the local address, then fields of later versions, then payload.
 * An address there is u8 family (0, 4 or 6), ip, u16 port, u8 zonelen, zone.
 */

export interface UdpAddress {
  /** 0 (not known), 4 or 16 bytes in network order. */
  readonly ip: Buffer;
  readonly port: number;
  /** Zone of a scoped address without `%`, one character per byte (latin1), so that any name comes back unchanged. */
  readonly zone: string;
}

export interface U16Frame extends UdpAddress {
  readonly payload: Buffer;
}

export interface FlowFrame {
  /** Flow id, u32. */
  readonly flow: number;
  /** The flow has ended; there is no payload then. */
  readonly ended: boolean;
  /** Who sent to which of our addresses; `local` has family 0 where the engine does not know it. */
  readonly addresses: { readonly client: UdpAddress; readonly local: UdpAddress } | undefined;
  readonly payload: Buffer;
}

/** An address that nobody knows: family 0. */
export const UNKNOWN_ADDRESS: UdpAddress = { ip: Buffer.alloc(0), port: 0, zone: '' };

/** Largest datagram of UDP over IPv4: 65,535 less 20 of IP and 8 of UDP (RFC 768, RFC 791). */
export const MAX_DATAGRAM_BYTES = 65_507;

const U16_MAX = 0xffff;
/** Its five lengths and numbers. */
const U16_FIXED = 10;
/** Total, flow, flags and headerLength. */
const FLOW_FIXED = 10;
/** What headerLength can say. */
const FLOW_HEADER_MAX = 0xff;
/** A full datagram behind the longest header, with room for larger datagrams of IPv6 (65,527 bytes). */
export const MAX_FLOW_FRAME_BYTES = 66_048;

const FLAG_ADDRESSES = 1;
const FLAG_ENDED = 2;

/**
 * @returns header and payload as two buffers, the payload not copied; undefined when the frame is larger than its u16
 *   can say, which happens to datagrams near 64 KiB with a zone
 */
export function encodeU16Frame(frame: U16Frame): Buffer[] | undefined {
  const { ip, port, zone, payload } = frame;
  const headerLength = U16_FIXED + ip.length + zone.length;
  const total = headerLength + payload.length;
  if (total > U16_MAX) return undefined;
  const header = Buffer.allocUnsafe(headerLength);
  let at = header.writeUInt16LE(total, 0);
  at = header.writeUInt16LE(ip.length, at);
  at += ip.copy(header, at);
  at = header.writeUInt16LE(port, at);
  at = header.writeUInt16LE(zone.length, at);
  at += header.write(zone, at, 'latin1');
  header.writeUInt16LE(payload.length, at);
  return [header, payload];
}

/** Reads u16 frames from any split of a stream. */
export class U16FrameDecoder {
  private readonly frames = new FrameAssembler(2, U16_FIXED, U16_MAX);

  /**
   * @param onFrame gets each frame; its buffers may be views of `chunk`
   * @throws BridgeError PROTOCOL at the first malformed frame, and at every push after that
   */
  push(chunk: Buffer, onFrame: (frame: U16Frame) => void): void {
    this.frames.push(chunk, (frame) => onFrame(decodeU16(frame)));
  }
}

/**
 * @returns header and payload as two buffers, the payload not copied; undefined when zones make the header longer than
 *   255 bytes or the whole is longer than MAX_FLOW_FRAME_BYTES
 */
export function encodeFlowFrame(frame: FlowFrame): Buffer[] | undefined {
  const { flow, ended, addresses, payload } = frame;
  const client = addresses?.client;
  const local = addresses?.local;
  const headerLength = FLOW_FIXED + addressLength(client) + addressLength(local);
  const total = headerLength + payload.length;
  if (headerLength > FLOW_HEADER_MAX || total > MAX_FLOW_FRAME_BYTES) return undefined;
  const header = Buffer.allocUnsafe(headerLength);
  header.writeUInt32LE(total, 0);
  header.writeUInt32LE(flow, 4);
  header[8] = (addresses === undefined ? 0 : FLAG_ADDRESSES) | (ended ? FLAG_ENDED : 0);
  header[9] = headerLength;
  const at = writeAddress(header, FLOW_FIXED, client);
  writeAddress(header, at, local);
  return payload.length === 0 ? [header] : [header, payload];
}

/** Reads u32 frames from any split of a stream. Flags and header fields that it does not know are skipped. */
export class FlowFrameDecoder {
  private readonly frames = new FrameAssembler(4, FLOW_FIXED, MAX_FLOW_FRAME_BYTES);

  /**
   * @param onFrame gets each frame; its buffers may be views of `chunk`
   * @throws BridgeError PROTOCOL at the first malformed frame, and at every push after that
   */
  push(chunk: Buffer, onFrame: (frame: FlowFrame) => void): void {
    this.frames.push(chunk, (frame) => onFrame(decodeFlow(frame)));
  }
}

function malformed(what: string): never {
  throw new BridgeError('PROTOCOL', `malformed UDP frame: ${what}`);
}

function decodeU16(frame: Buffer): U16Frame {
  const ipLength = frame.readUInt16LE(2);
  if (ipLength !== 0 && ipLength !== 4 && ipLength !== 16) malformed(`address of ${ipLength} bytes`);
  const portAt = 4 + ipLength;
  if (frame.length < U16_FIXED + ipLength) malformed('its address is cut short');
  const zoneLength = frame.readUInt16LE(portAt + 2);
  const zoneAt = portAt + 4;
  const payloadAt = zoneAt + zoneLength + 2;
  if (payloadAt > frame.length) malformed('its zone is cut short');
  const length = frame.readUInt16LE(payloadAt - 2);
  if (payloadAt + length !== frame.length)
    malformed(`${length} bytes of payload in a frame of ${frame.length}`);
  return {
    ip: frame.subarray(4, portAt),
    port: frame.readUInt16LE(portAt),
    zone: frame.toString('latin1', zoneAt, zoneAt + zoneLength),
    payload: frame.subarray(payloadAt),
  };
}

function decodeFlow(frame: Buffer): FlowFrame {
  const flags = frame[8]!;
  const headerLength = frame[9]!;
  if (headerLength < FLOW_FIXED || headerLength > frame.length) malformed(`header of ${headerLength} bytes`);
  const ended = (flags & FLAG_ENDED) !== 0;
  const payload = frame.subarray(headerLength);
  if (ended && payload.length > 0) malformed('payload behind the end of a flow');
  const addresses =
    (flags & FLAG_ADDRESSES) === 0 ? undefined : readAddresses(frame.subarray(0, headerLength));
  return { flow: frame.readUInt32LE(4), ended, addresses, payload };
}

function addressLength(address: UdpAddress | undefined): number {
  return address === undefined ? 0 : 4 + address.ip.length + address.zone.length;
}

function writeAddress(header: Buffer, start: number, address: UdpAddress | undefined): number {
  if (address === undefined) return start;
  let at = header.writeUInt8(address.ip.length === 16 ? 6 : address.ip.length, start);
  at += address.ip.copy(header, at);
  at = header.writeUInt16LE(address.port, at);
  at = header.writeUInt8(address.zone.length, at);
  return at + header.write(address.zone, at, 'latin1');
}

function readAddresses(header: Buffer): { client: UdpAddress; local: UdpAddress } {
  const client = readAddress(header, FLOW_FIXED);
  const local = readAddress(header, FLOW_FIXED + addressLength(client));
  return { client, local };
}

function readAddress(header: Buffer, start: number): UdpAddress {
  const family = header[start];
  if (family !== 0 && family !== 4 && family !== 6) malformed(`address family ${family ?? 'missing'}`);
  const portAt = start + 1 + (family === 6 ? 16 : family);
  const zoneAt = portAt + 3;
  if (zoneAt > header.length) malformed('an address is cut short');
  const end = zoneAt + header[portAt + 2]!;
  if (end > header.length) malformed('a zone is cut short');
  return {
    ip: header.subarray(start + 1, portAt),
    port: header.readUInt16LE(portAt),
    zone: header.toString('latin1', zoneAt, end),
  };
}
