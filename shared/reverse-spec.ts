import { optionsStart } from './forward-options.ts';
import { formatEndpoint } from './ip.ts';
import { type Cursor, refuse, takeAddress, takeColon, takePart, takePorts } from './port-spec-cursor.ts';
import { decodePath, encodePath } from './spec-path.ts';
import { VM_NAME } from './vm-name.ts';

/**
 * One reverse forward: a port or unix socket in the VM whose clients are carried to a service of the host. Its full
 * notation names it in the API, the state file, control messages and logs, the host first as everywhere:
 * `reverse:tcp:127.0.0.1:5432:tcp:172.17.0.1:5432`, `reverse:unix:<base64 of the host path>:tcp:127.0.0.1:2375`.
 */
export interface ReverseSpec {
  readonly protocol: 'reverse';
  /** What is dialled on the host. */
  readonly host: Place;
  /** Where clients are awaited in the VM; port 0 asks for any free one. */
  readonly vm: Place;
}

export type Place =
  | { readonly protocol: 'tcp'; readonly ip: string; readonly port: number }
  | { readonly protocol: 'unix'; readonly path: string };

const PREFIX = 'reverse:';
/** Where the host ends in what the command line takes. Paths may have such a text too: the last one counts. */
const NAME_BEHIND_HOST = new RegExp(`@${VM_NAME}:`, 'g');
const NAME = new RegExp(`^${VM_NAME}$`);
/** Address in the VM when nobody chose one. */
const LOOPBACK = '127.0.0.1';

/** Whether a text is the full notation of a reverse forward, well formed or not. */
export function isReverse(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Reads the full notation. @throws BridgeError BAD_SPEC with the 0-based position and the reason */
export function parseReverseSpec(text: string): ReverseSpec {
  const cursor: Cursor = { text, end: optionsStart(text), position: 0 };
  if (takePart(cursor) !== 'reverse') refuse(text, 0, 'expected reverse');
  takeColon(cursor, 'what is dialled on the host');
  const host = takePlace(cursor, 'host', 1);
  takeColon(cursor, 'where it is in the VM');
  const vm = takePlace(cursor, 'VM', 0);
  expectEnd(cursor);
  return { protocol: 'reverse', host, vm };
}

/** The canonical full notation: `parseReverseSpec(formatReverseSpec(spec))` equals `spec`. */
export function formatReverseSpec({ host, vm }: ReverseSpec): string {
  return `${PREFIX}${formatPlace(host)}:${formatPlace(vm)}`;
}

/** `127.0.0.1:5432`, `[::1]:5432` or a path, for people. */
export function describePlace(place: Place): string {
  return place.protocol === 'unix' ? place.path : formatEndpoint(place.ip, place.port);
}

/**
 * Reads what the command line takes: the full notation, or `HOST@VM:WHERE`.
 *
 * | written | published in the VM |
 * |---|---|
 * | `tcp:127.0.0.1:5432@vm:5432` | at 127.0.0.1, port 5432 |
 * | `tcp:127.0.0.1:5432@vm:172.17.0.1:5432` | at that address |
 * | `tcp:127.0.0.1:5432@vm:0` | at 127.0.0.1, any free port |
 * | `unix:/run/db.sock@vm:/run/db.sock` | as a unix socket; each side may be either |
 *
 * Paths with a `?`, and those of the VM with an `@NAME:`, need the full notation.
 *
 * @returns the spec, and the name of the VM where one was said: `vm` stands for the only one
 * @throws BridgeError BAD_SPEC with the 0-based position and the reason
 */
export function parseCommandLineReverse(text: string): { spec: ReverseSpec; vm: string | undefined } {
  if (isReverse(text)) return { spec: parseReverseSpec(text), vm: undefined };
  const cursor: Cursor = { text, end: optionsStart(text), position: 0 };
  const ends = text.slice(0, cursor.end);
  const at = [...ends.matchAll(NAME_BEHIND_HOST)].at(-1)?.index ?? ends.lastIndexOf('@');
  if (at < 0) refuse(text, ends.length, 'expected "@vm:PORT" behind what is dialled on the host');
  const host = takeShortHost({ ...cursor, end: at });
  cursor.position = at + 1;
  const start = cursor.position;
  const name = takePart(cursor);
  if (!NAME.test(name)) refuse(text, start, 'expected the name of a VM, or "vm"');
  takeColon(cursor, 'the port in the VM');
  const vm = takeShortVm(cursor);
  expectEnd(cursor);
  return { spec: { protocol: 'reverse', host, vm }, vm: name === 'vm' ? undefined : name };
}

function takeShortHost(cursor: Cursor): Place {
  const { text, end } = cursor;
  if (!text.startsWith('unix:')) {
    const place = takePlace(cursor, 'host', 1);
    if (cursor.position < end) refuse(text, cursor.position, 'expected "@"');
    return place;
  }
  return { protocol: 'unix', path: checkPath(cursor, 'unix:'.length, end, 'the host path') };
}

function takeShortVm(cursor: Cursor): Place {
  const { text, end, position } = cursor;
  if (text[position] === '/') {
    cursor.position = end;
    return { protocol: 'unix', path: checkPath(cursor, position, end, 'the VM path') };
  }
  if (/^\d+$/.test(text.slice(position, end)))
    return { protocol: 'tcp', ip: LOOPBACK, port: takePort(cursor, 'VM', 0) };
  return takeEndpoint(cursor, 'VM', 0);
}

function takePlace(cursor: Cursor, side: 'host' | 'VM', min: 0 | 1): Place {
  const start = cursor.position;
  const protocol = takePart(cursor);
  if (protocol === 'udp') refuse(cursor.text, start, 'reverse forwards carry TCP and unix sockets, not UDP');
  if (protocol !== 'tcp' && protocol !== 'unix') refuse(cursor.text, start, 'expected tcp or unix');
  if (protocol === 'tcp') {
    takeColon(cursor, `the ${side} address`);
    return takeEndpoint(cursor, side, min);
  }
  takeColon(cursor, `the ${side} path`);
  const at = cursor.position;
  const path = decodePath(takePart(cursor));
  if (typeof path !== 'string') refuse(cursor.text, at, `the ${side} path ${path.problem}`);
  return { protocol, path };
}

function takeEndpoint(cursor: Cursor, side: 'host' | 'VM', min: 0 | 1): Place {
  const ip = takeAddress(cursor, `the ${side} address`);
  takeColon(cursor, `the ${side} port`);
  return { protocol: 'tcp', ip, port: takePort(cursor, side, min) };
}

function takePort(cursor: Cursor, side: 'host' | 'VM', min: 0 | 1): number {
  const start = cursor.position;
  const { first, last } = takePorts(cursor, `the ${side} port`, min);
  if (first !== last) refuse(cursor.text, start, 'a reverse forward has one port, not a range');
  return first;
}

function checkPath(cursor: Cursor, from: number, to: number, what: string): string {
  const path = cursor.text.slice(from, to);
  const problem = path === '' ? 'is empty' : pathTrouble(path);
  if (problem !== undefined) refuse(cursor.text, from, `${what} ${problem}`);
  return path;
}

function pathTrouble(path: string): string | undefined {
  const read = decodePath(encodePath(path));
  return typeof read === 'string' ? undefined : read.problem;
}

function expectEnd(cursor: Cursor): void {
  const { text, position, end } = cursor;
  if (position < end) refuse(text, position, 'expected the end');
  if (end < text.length) refuse(text, end, 'a reverse forward has no options');
}

function formatPlace(place: Place): string {
  return place.protocol === 'unix' ? `unix:${encodePath(place.path)}` : `tcp:${describePlace(place)}`;
}
