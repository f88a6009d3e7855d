import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { BridgeError } from '../../../shared/errors.ts';
import { onWindows } from '../../../shared/platform/choose.ts';
import type { PortableStreamReservation } from '../../../shared/ports/listening.ts';
import { reserveUnix } from '../../../shared/ports/reserve-unix.ts';
import { reservePipe } from '../../../shared/transport/npipe.ts';

const ANSWER_MS = 1_000;
const ANSWER_BYTES = 32;

/**
 * Holds a file for this process by listening on its lock, which says who has it. A lock ends with its process, however
 * that ends: a socket that nobody listens on any more is taken over, and a named pipe goes with its process.
 * @param path the same for all who mean the same file
 * @returns what gives it back
 * @throws BridgeError STATE_IN_USE, naming the process that has it; else as reserveUnix does
 */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const lock = lockName(path, onWindows);
  try {
    const reservation = await reserve(lock);
    reservation.start((socket) => {
      socket.on('error', () => {}); // it did not wait for the answer
      socket.setTimeout(ANSWER_MS, () => socket.destroy());
      socket.end(`${process.pid}\n`).resume();
    });
    return () => reservation.close();
  } catch (error) {
    if (!(error instanceof BridgeError && error.code === 'PORT_IN_USE')) throw error;
    const pid = await holderOf(lock);
    const who = pid === undefined ? `somebody holds ${lock}` : `a host agent with process id ${pid} uses it`;
    throw new BridgeError(
      'STATE_IN_USE',
      `the state file ${path} is taken: ${who}; give each host agent a file of its own`,
      { cause: error },
    );
  }
}

/**
 * Where the lock of a file listens: the unix socket beside it, or on Windows, where Node listens in the file system of named
 * pipes only, a pipe that is named by the path, in whichever case that is written (net.Server.listen, "Identifying paths").
 */
export function lockName(path: string, windows: boolean): string {
  if (!windows) return `${path}.lock`;
  const hash = createHash('sha256').update(path.toLowerCase()).digest('hex');
  return `\\\\.\\pipe\\portferry-state-${hash.slice(0, 32)}`;
}

function reserve(lock: string): Promise<PortableStreamReservation> {
  return onWindows ? reservePipe(lock) : reserveUnix({ path: lock });
}

/** The process that listens there, as it says itself. */
function holderOf(lock: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ path: lock });
    const done = (): void => {
      socket.destroy();
      resolve(/^\d{1,10}\n$/.test(text) ? Number(text) : undefined);
    };
    socket.setTimeout(ANSWER_MS, done);
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part;
      if (text.length > ANSWER_BYTES) done();
    });
    socket.on('error', done).on('end', done);
  });
}
