import { BridgeError } from './errors.ts';
import { canonicalIp, compareIps, ipsOverlap } from './ip.ts';
import { onePort, type PortRange } from './port-range.ts';

/** Reads the parts that every notation of a forward is made of, and names the column of what it refuses. */

const SHOWN_CHARACTERS = 60;
const PORT = /^(?:0|[1-9][0-9]{0,4})$/;
/** Enough for both families at two places; keeps a spec within the 512 bytes that a control message has for it. */
export const MAX_HOST_ADDRESSES = 4;

/**
 * Refuses an input. The reason comes first and the input is shortened, because some clients read 100 bytes of it.
 * @param position 0-based column of the first character that is wrong; the length of the input when something is missing
 * @throws BridgeError BAD_SPEC, always
 */
export function refuse(text: string, position: number, reason: string): never {
  const shown = text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
  throw new BridgeError(
    'BAD_SPEC',
    `bad port specification at position ${position}: ${reason} in ${JSON.stringify(shown)}`,
  );
}

/** Where in the input the next part begins. `end` is exclusive, so that a suffix can be set aside. */
export interface Cursor {
  readonly text: string;
  readonly end: number;
  position: number;
}

/** Takes everything up to the next separator or the end, and leaves the cursor on that. */
export function takePart(cursor: Cursor, separators = ':'): string {
  let stop = cursor.position;
  while (stop < cursor.end && !separators.includes(cursor.text[stop]!)) stop++;
  const part = cursor.text.slice(cursor.position, stop);
  cursor.position = stop;
  return part;
}

/** Steps over the `:` in front of the next part. */
export function takeColon(cursor: Cursor, next: string): void {
  if (cursor.position === cursor.end) refuse(cursor.text, cursor.position, `${next} is missing`);
  if (cursor.text[cursor.position] !== ':')
    refuse(cursor.text, cursor.position, `expected ":" before ${next}`);
  cursor.position++;
}

/**
 * Takes one address or several parted by commas, each once and none that another stands for, in their canonical order:
 * IPv4 first, then by number.
 */
export function takeAddresses(cursor: Cursor, what: string): string[] {
  const taken: string[] = [];
  for (;;) {
    const start = cursor.position;
    const address = takeAddress(cursor, what, ':,');
    const clash = taken.find((other) => ipsOverlap(other, address));
    if (clash === address) refuse(cursor.text, start, `${what} ${address} is there twice`);
    if (clash !== undefined) refuse(cursor.text, start, `${what} ${address} overlaps with ${clash}`);
    taken.push(address);
    if (cursor.position === cursor.end || cursor.text[cursor.position] !== ',') break;
    if (taken.length === MAX_HOST_ADDRESSES)
      refuse(cursor.text, cursor.position, `more than ${MAX_HOST_ADDRESSES} addresses`);
    cursor.position++;
  }
  return taken.sort(compareIps);
}

/** Takes `1.2.3.4` or `[fd00::2]` in its canonical text. */
export function takeAddress(cursor: Cursor, what: string, separators = ':'): string {
  const start = cursor.position;
  if (cursor.text[start] === '[' && start < cursor.end) return takeBracketed(cursor, what);
  const part = takePart(cursor, separators);
  if (part === '') refuse(cursor.text, start, `${what} is empty`);
  const address = canonicalIp(part);
  if (address === undefined) {
    refuse(cursor.text, start, `${what} is no IPv4 address (IPv6 goes in brackets)`);
  }
  return address;
}

function takeBracketed(cursor: Cursor, what: string): string {
  const start = cursor.position;
  const close = cursor.text.indexOf(']', start);
  if (close < 0 || close >= cursor.end) refuse(cursor.text, start, `${what} has no closing bracket`);
  const inside = cursor.text.slice(start + 1, close);
  const address = inside.includes(':') ? canonicalIp(inside) : undefined;
  if (address === undefined) refuse(cursor.text, start + 1, `${what} is no IPv6 address`);
  cursor.position = close + 1;
  return address;
}

/** Takes a decimal port without sign or leading zeros, from `min` (0 or 1) to 65535, or a range from 1 on. */
export function takePorts(cursor: Cursor, what: string, min: 0 | 1): PortRange {
  const start = cursor.position;
  const part = takePart(cursor);
  if (part === '') refuse(cursor.text, start, `${what} is empty`);
  return readPorts(cursor.text, start, part, what, min);
}

/** Reads `part`, which begins at `start`, as a port or a range. */
export function readPorts(text: string, start: number, part: string, what: string, min: 0 | 1): PortRange {
  const dash = part.indexOf('-');
  if (!/^[0-9]+-[0-9]+$/.test(part)) return onePort(readPort(text, start, part, what, min));
  const first = readPort(text, start, part.slice(0, dash), what, 1);
  const last = readPort(text, start + dash + 1, part.slice(dash + 1), what, 1);
  if (last < first) refuse(text, start, `${what} is a range that ends before it begins`);
  return { first, last };
}

function readPort(text: string, start: number, part: string, what: string, min: 0 | 1): number {
  const port = Number(part);
  if (!PORT.test(part) || port > 65_535 || port < min) {
    refuse(text, start, `${what} is no decimal number from ${min} to 65535`);
  }
  return port;
}
