/** One stream over a serial port of the VM: its device in the VM, and the unix socket that the hypervisor has for it. */
import { constants, openSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { BridgeError, messageOf, nodeErrno } from '../errors.ts';
import { onWindows } from '../platform/choose.ts';
import { parsePipeName } from './npipe.ts';
import { SerialStream, type SerialTimes } from './serial-stream.ts';
import { connectSocket } from './socket-dial.ts';
import { checkSocketPath } from './socket-path.ts';

/** `serial:///dev/virtio-ports/NAME`, in the VM */
export interface SerialAddress {
  readonly scheme: 'serial';
  readonly path: string;
  readonly url: string;
}

/** `serial+unix:///path/of/the/chardev`, on the host */
export interface SerialSocketAddress {
  readonly scheme: 'serial+unix';
  readonly path: string;
  readonly url: string;
}

/** How long the VM may take to answer on a port that the hypervisor has, milliseconds. */
const ANSWER_MS = 10_000;
/** How long the last words of a session may take to be written, milliseconds. */
const LAST_WORDS_MS = 1_000;
const NOTHING = Buffer.alloc(0);

/** @throws BridgeError BAD_REQUEST */
export function parseSerial(url: string): SerialAddress {
  const path = /^serial:\/\/(\/[^\0]+)$/.exec(url)?.[1];
  if (path === undefined)
    throw new BridgeError('BAD_REQUEST', `"${url}" is not serial:///dev/virtio-ports/NAME`);
  return { scheme: 'serial', path, url };
}

/** @throws BridgeError BAD_REQUEST */
export function parseSerialSocket(url: string, windows = onWindows): SerialSocketAddress {
  const path = /^serial\+unix:\/\/(\/[^\0]+)$/.exec(url)?.[1];
  if (path === undefined)
    throw new BridgeError('BAD_REQUEST', `"${url}" is not serial+unix:///path/of/the/chardev`);
  // A chardev on Windows may be a named pipe, //./pipe/NAME.
  if (parsePipeName(path, windows) === undefined) checkSocketPath(path, url, windows);
  return { scheme: 'serial+unix', path, url };
}

/**
 * Begins a session at the host's end.
 * @throws BridgeError NO_LINK or PERMISSION_DENIED without a chardev, TIMEOUT when the VM does not answer, LINK_LOST,
 *   CANCELLED; the message has the URL
 */
export async function dialSerial(
  { path, url }: SerialSocketAddress,
  signal: AbortSignal,
  times?: SerialTimes,
  answerMs = ANSWER_MS,
): Promise<Duplex> {
  const port = await connectSocket({ path }, url, signal);
  port.on('error', () => {}); // of last words that find nobody; whoever has a session is told by it
  const giveUp = new AbortController(); // not AbortSignal.any, which Node has since 20.3 only
  const stop = (): void => giveUp.abort();
  const timer = setTimeout(stop, answerMs);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const session = await openSession(port, NOTHING, giveUp.signal, times);
    session.on('close', () => leavePort(port));
    return session;
  } catch (error) {
    port.destroy();
    if (signal.aborted) throw new BridgeError('CANCELLED', `dialling ${url} was cancelled`);
    if (giveUp.signal.aborted)
      throw new BridgeError(
        'TIMEOUT',
        `${url}: the hypervisor is there, but nobody in the VM answered on that serial port within ${answerMs / 1000} s (is portferry vm-shim --listen serial:// running there?)`,
      );
    throw new BridgeError('LINK_LOST', `${url}: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

/**
 * The sessions of the VM's end, one after the other on the same port, until the port is lost.
 * @param serve resolves or rejects when it needs its session no longer
 */
export async function serveSerial(
  port: Duplex,
  signal: AbortSignal,
  serve: (session: Duplex) => Promise<void>,
  times?: SerialTimes,
): Promise<void> {
  port.on('error', () => {}); // the session that is going on says so
  let rest: Buffer = NOTHING;
  while (!signal.aborted && !port.destroyed) {
    let session: SerialStream;
    try {
      session = await openSession(port, rest, signal, times);
    } catch {
      return; // the port was lost, or we are stopping
    }
    await serve(session);
    session.destroy();
    rest = session.rest;
  }
}

/** Closes a port behind the last words of its session. What comes meanwhile is for nobody. */
export function leavePort(port: Duplex): void {
  port.end();
  port.resume();
  setTimeout(() => port.destroy(), LAST_WORDS_MS).unref();
}

/** Waits until the peer is there. @throws BridgeError CANCELLED, or LINK_LOST when the port is lost */
function openSession(
  port: Duplex,
  rest: Buffer,
  signal: AbortSignal,
  times?: SerialTimes,
): Promise<SerialStream> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void session.destroy(new BridgeError('CANCELLED', 'stopping'));
    const settle = (): void => {
      signal.removeEventListener('abort', stop);
      session.off('error', failed);
    };
    const failed = (error: Error): void => {
      settle();
      reject(error);
    };
    const begun = (): void => {
      settle();
      resolve(session);
    };
    const session = new SerialStream(port, rest, begun, times);
    session.on('error', failed);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    else if (port.destroyed) session.destroy(new BridgeError('LINK_LOST', 'the serial port was lost'));
  });
}

/**
 * Opens the device of a serial port, for the bridge.
 * @throws BridgeError NOT_FOUND, PORT_IN_USE, PERMISSION_DENIED or IO, naming the URL
 */
export function openSerialDevice({ path, url }: SerialAddress): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const errno = nodeErrno(error);
    const because = (code: 'NOT_FOUND' | 'PORT_IN_USE' | 'PERMISSION_DENIED' | 'IO', why: string) =>
      new BridgeError(code, `cannot open ${url}: ${why}`, { cause: error });
    if (errno === 'ENOENT' || errno === 'ENXIO' || errno === 'ENODEV')
      throw because('NOT_FOUND', 'there is no such device (has the VM a virtserialport of that name?)');
    if (errno === 'EBUSY') throw because('PORT_IN_USE', 'another program has it open');
    if (errno === 'EACCES' || errno === 'EPERM') throw because('PERMISSION_DENIED', 'permission denied');
    throw because('IO', messageOf(error));
  }
}
