import { connect } from 'node:net';
import { BridgeError } from '../../../shared/errors.ts';
import { reserveUnix } from '../../../shared/ports/reserve-unix.ts';

const ANSWER_MS = 1_000;
const ANSWER_BYTES = 32;

/**
 * Holds a file for this process by listening on the unix socket `<path>.lock`, which says who has it. A lock ends with its
 * process, however that ends: a socket that nobody listens on any more is taken over.
 * @returns what gives it back
 * @throws BridgeError STATE_IN_USE, naming the process that has it; else as reserveUnix does
 */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const lock = `${path}.lock`;
  try {
    const reservation = await reserveUnix({ path: lock });
    reservation.start((socket) => {
      socket.on('error', () => {}); // it did not wait for the answer
      socket.setTimeout(ANSWER_MS, () => socket.destroy());
      socket.end(`${process.pid}\n`).resume();
    });
    return () => reservation.close();
  } catch (error) {
    if (!(error instanceof BridgeError) || error.code !== 'PORT_IN_USE') throw error;
    const pid = await holderOf(lock);
    const who = pid === undefined ? `somebody holds ${lock}` : `a host agent with process id ${pid} uses it`;
    throw new BridgeError(
      'STATE_IN_USE',
      `the state file ${path} is taken: ${who}; give each host agent a file of its own`,
      { cause: error },
    );
  }
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
