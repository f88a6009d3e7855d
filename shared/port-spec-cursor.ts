import { BridgeError } from './errors.ts';
import { canonicalIp } from './ip.ts';

/** Reads the parts that every notation of a forward is made of, and names the column of what it refuses. */

const SHOWN_CHARACTERS = 60;
const PORT = /^(?:0|[1-9][0-9]{0,4})$/;

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

/** Takes everything up to the next `:` or the end, and leaves the cursor on that. */
export function takePart(cursor: Cursor): string {
  const colon = cursor.text.indexOf(':', cursor.position);
  const stop = colon < 0 || colon > cursor.end ? cursor.end : colon;
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

/** Takes `1.2.3.4` or `[fd00::2]` in its canonical text. */
export function takeAddress(cursor: Cursor, what: string): string {
  const start = cursor.position;
  if (cursor.text[start] === '[' && start < cursor.end) return takeBracketed(cursor, what);
  const part = takePart(cursor);
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

/** Takes a decimal port without sign or leading zeros, from `min` (0 or 1) to 65535. */
export function takePort(cursor: Cursor, what: string, min: 0 | 1): number {
  const start = cursor.position;
  const part = takePart(cursor);
  if (part === '') refuse(cursor.text, start, `${what} is empty`);
  return readPort(cursor.text, start, part, what, min);
}

/** Reads `part`, which begins at `start`, as a port. */
export function readPort(text: string, start: number, part: string, what: string, min: 0 | 1): number {
  if (/^[0-9]+-[0-9]+$/.test(part)) refuse(text, start, `${what} is a range; give each port on its own`);
  const port = Number(part);
  if (!PORT.test(part) || port > 65_535 || port < min) {
    refuse(text, start, `${what} is no decimal number from ${min} to 65535`);
  }
  return port;
}
