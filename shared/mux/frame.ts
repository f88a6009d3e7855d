/**
 * Frames of vpnkit's multiplexer (moby/vpnkit go/pkg/libproxy/frame.go) and our negotiated extensions.
 * Little-endian. Header: u16 length of the header, itself included; u8 command; u32 channel id; then the
 * body of the command. Only Data and Control have a payload after the header, which `length` leaves out.
 */
import { type Destination, encodeDestination, MAX_PATH_BYTES } from '../destination.ts';
import { MAX_DETAILS_BYTES } from '../stream-details.ts';

export const COMMAND = {
  open: 1,
  close: 2,
  shutdown: 3,
  data: 4,
  window: 5,
  /** Extension `control`: u32 payload length, a msgpack control message; channel id 0. */
  control: 0x40,
  /** Extension `dial-result`: u32 errno, 0 when the destination has been reached. */
  dialResult: 0x41,
  /** Extension `reset`: u32 errno; counts as the sender's Close. */
  reset: 0x42,
  /** Extension `dedicated`: u32 errno; the id is that of a dedicated stream, not of a channel. */
  streamReset: 0x43,
  /** Extension `ping`: u32 number, which the peer sends back in a Pong; channel id 0. */
  ping: 0x44,
  pong: 0x45,
} as const;

/** `connection` of an Open frame: 1 dedicated (implemented nowhere), 2 multiplexed. */
export const CONNECTION_MULTIPLEXED = 2;

export const HEADER_BYTES = 7;
/** Longest header: an Open with the longest path. */
export const MAX_HEADER_BYTES = HEADER_BYTES + 1 + 3 + MAX_PATH_BYTES + MAX_DETAILS_BYTES;
/** Largest control message, bytes. */
export const MAX_CONTROL_BYTES = 256 * 1024;

function header(length: number, command: number, id: number): Buffer {
  const out = Buffer.allocUnsafe(length);
  out.writeUInt16LE(length, 0);
  out[2] = command;
  out.writeUInt32LE(id, 3);
  return out;
}

const NO_DETAILS = new Uint8Array(0);

/** @param details extension `details`: as encodeDetails has them; empty without it */
export function encodeOpen(id: number, destination: Destination, details: Uint8Array = NO_DETAILS): Buffer {
  const body = encodeDestination(destination);
  const out = header(HEADER_BYTES + 1 + body.length + details.length, COMMAND.open, id);
  out[HEADER_BYTES] = CONNECTION_MULTIPLEXED;
  body.copy(out, HEADER_BYTES + 1);
  out.set(details, HEADER_BYTES + 1 + body.length);
  return out;
}

/** A frame without a body: Close or Shutdown. */
export function encodeBare(command: typeof COMMAND.close | typeof COMMAND.shutdown, id: number): Buffer {
  return header(HEADER_BYTES, command, id);
}

/** The header of a Data frame; the payload follows it. */
export function encodeDataHeader(id: number, payloadLength: number): Buffer {
  const out = header(HEADER_BYTES + 4, COMMAND.data, id);
  out.writeUInt32LE(payloadLength, HEADER_BYTES);
  return out;
}

/** @param sequence absolute number of bytes that the peer may have sent, below 2^53 */
export function encodeWindow(id: number, sequence: number): Buffer {
  const out = header(HEADER_BYTES + 8, COMMAND.window, id);
  out.writeUInt32LE(sequence >>> 0, HEADER_BYTES);
  out.writeUInt32LE(Math.floor(sequence / 0x1_0000_0000), HEADER_BYTES + 4);
  return out;
}

/** A frame whose body is a Linux errno number: a dial result, a reset of a channel or of a dedicated stream. */
export function encodeErrno(
  command: typeof COMMAND.dialResult | typeof COMMAND.reset | typeof COMMAND.streamReset,
  id: number,
  errno: number,
): Buffer {
  const out = header(HEADER_BYTES + 4, command, id);
  out.writeUInt32LE(errno, HEADER_BYTES);
  return out;
}

/** A frame whose body is a number of the pinging side's choice. */
export function encodePing(command: typeof COMMAND.ping | typeof COMMAND.pong, number: number): Buffer {
  const out = header(HEADER_BYTES + 4, command, 0);
  out.writeUInt32LE(number, HEADER_BYTES);
  return out;
}

/** The header of a Control frame; the payload follows it. */
export function encodeControlHeader(payloadLength: number): Buffer {
  const out = header(HEADER_BYTES + 4, COMMAND.control, 0);
  out.writeUInt32LE(payloadLength, HEADER_BYTES);
  return out;
}

const NAMES = new Map<number, string>(Object.entries(COMMAND).map(([name, number]) => [number, name]));

/** Name of a command number, for logs. */
export function commandName(command: number): string {
  return NAMES.get(command) ?? `command ${command}`;
}
