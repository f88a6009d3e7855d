/** The one stream of a shim that a program on the host has started: our own stdin and stdout. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { BridgeError, messageOf } from '../errors.ts';
import { TwoWay } from './two-way.ts';

/** `stdio:` */
export interface StdioAddress {
  readonly scheme: 'stdio';
  readonly url: string;
}

/** @throws BridgeError BAD_REQUEST */
export function parseStdio(url: string): StdioAddress {
  if (url !== 'stdio:') throw new BridgeError('BAD_REQUEST', `"${url}" is not stdio:`);
  return { scheme: 'stdio', url };
}

/**
 * Our stdin and stdout as a stream; from now on nothing else may use them. Not process.stdout, which writes to a pipe
 * synchronously: two programs that wait for each other to read would stand still.
 * @throws BridgeError UNSUPPORTED where they are no pipes, such as at a terminal
 */
export function ownStdio(): Duplex {
  let from: Socket;
  let to: Socket;
  try {
    from = new Socket({ fd: 0, readable: true, writable: false, pauseOnCreate: true } as never);
    to = new Socket({ fd: 1, readable: false, writable: true });
  } catch (error) {
    throw new BridgeError(
      'UNSUPPORTED',
      `cannot listen on stdio: stdin and stdout have to be pipes of the host agent's exec: (${messageOf(error)})`,
      { cause: error },
    );
  }
  const stream = new TwoWay(from, to, () => {
    from.destroy();
    to.destroy();
  });
  const lost = (why: string) => stream.destroy(new BridgeError('LINK_LOST', why));
  from.on('end', () => stream.ended());
  from.on('error', (error) => lost(`stdin broke: ${messageOf(error)}`));
  to.on('error', (error) => lost(`stdout broke: ${messageOf(error)}`));
  stream.on('error', () => {}); // for those that nobody listens to any more
  return stream;
}
