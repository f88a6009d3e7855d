/**
 * What stands behind the destination of a stream preface and of a channel's Open: who the client is, and what of the
 * forward's options the shim carries out. Little-endian; docs/protocol.md has the tables. Fields of a later version
 * are skipped.
 */
import { BridgeError } from './errors.ts';
import { ipFromBytes, ipToBytes } from './ip.ts';

/** The client of a forwarded connection; absent for unix sockets. */
export interface ClientAddress {
  readonly ip: string;
  readonly port: number;
}

export interface StreamDetails {
  readonly client?: ClientAddress | undefined;
  /** TCP keep-alive of the container's socket, seconds. */
  readonly keepalive?: number | undefined;
  /** Silence after which a UDP flow is over, seconds. */
  readonly flowIdle?: number | undefined;
  /** Towards the host: the number of the reverse forward that the client came to. */
  readonly reverse?: number | undefined;
}

/** The longest client address, and as many fields as anybody may ever need, bytes. */
export const MAX_DETAILS_BYTES = 19 + 512;

/** Fields: u8 type, u8 length, value. */
const KEEPALIVE = 1;
const FLOW_IDLE = 2;
const REVERSE = 3;
const VALUE_BYTES = 4;

export function encodeDetails(details: StreamDetails): Buffer {
  return Buffer.concat([encodeClient(details.client), encodeFields(details)]);
}

/** What follows the client's address: nothing, unless the forward has such options. */
export function encodeFields({ keepalive, flowIdle, reverse }: StreamDetails): Buffer {
  const fields = [field(KEEPALIVE, keepalive), field(FLOW_IDLE, flowIdle), field(REVERSE, reverse)];
  return Buffer.concat(fields.filter((each) => each !== undefined));
}

/**
 * Decodes what is between two offsets.
 * @throws BridgeError PROTOCOL when it is too long or cut short, or a field has a wrong length
 */
export function decodeDetails(bytes: Buffer, start: number, end: number): StreamDetails {
  if (end - start > MAX_DETAILS_BYTES)
    throw new BridgeError('PROTOCOL', `${end - start} bytes behind the destination of a stream`);
  const { client, at } = decodeClient(bytes.subarray(0, end), start);
  const details: { -readonly [Key in keyof StreamDetails]: StreamDetails[Key] } = {};
  if (client !== undefined) details.client = client;
  for (let position = at; position < end; ) {
    const value = position + 2;
    const next = value + (bytes[position + 1] ?? 0);
    if (value > end || next > end) throw new BridgeError('PROTOCOL', 'field of a stream cut short');
    const type = bytes[position];
    if (type === KEEPALIVE) details.keepalive = readNumber(bytes, value, next);
    else if (type === FLOW_IDLE) details.flowIdle = readNumber(bytes, value, next);
    else if (type === REVERSE) details.reverse = readNumber(bytes, value, next);
    position = next;
  }
  return details;
}

function field(type: number, value: number | undefined): Buffer | undefined {
  if (value === undefined) return undefined;
  const out = Buffer.alloc(2 + VALUE_BYTES);
  out[0] = type;
  out[1] = VALUE_BYTES;
  out.writeUInt32LE(value, 2);
  return out;
}

function readNumber(bytes: Buffer, start: number, end: number): number {
  if (end - start !== VALUE_BYTES)
    throw new BridgeError(
      'PROTOCOL',
      `field of a stream with ${end - start} bytes instead of ${VALUE_BYTES}`,
    );
  return bytes.readUInt32LE(start);
}

/** u8 family (0 absent, 4, 6), the IP's bytes, u16 port. */
function encodeClient(client: ClientAddress | undefined): Buffer {
  if (client === undefined) return Buffer.from([0]);
  const ip = ipToBytes(client.ip);
  const out = Buffer.allocUnsafe(3 + ip.length);
  out[0] = ip.length === 4 ? 4 : 6;
  out.set(ip, 1);
  out.writeUInt16LE(client.port, 1 + ip.length);
  return out;
}

function decodeClient(whole: Buffer, at: number): { client: ClientAddress | undefined; at: number } {
  const family = whole[at];
  if (family === 0) return { client: undefined, at: at + 1 };
  if (family !== 4 && family !== 6)
    throw new BridgeError('PROTOCOL', `client address of family ${family ?? 'nothing'}`);
  const end = at + 1 + (family === 4 ? 4 : 16);
  if (whole.length < end + 2) throw new BridgeError('PROTOCOL', 'client address cut short');
  const client = { ip: ipFromBytes(whole.subarray(at + 1, end)), port: whole.readUInt16LE(end) };
  return { client, at: end + 2 };
}
