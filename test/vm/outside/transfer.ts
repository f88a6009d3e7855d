import type { Socket } from 'node:net';
import { until } from '../../helpers/processes.ts';
import { connectTo } from '../../helpers/stream-client.ts';
import { digestOf, receiveBytes, sendBytes } from '../../helpers/test-bytes.ts';
import { same, WAIT_MS } from '../cases.ts';

/** What the emulated processor carries there and back in a few seconds. */
const BYTES = 6_000_000;
/** How many are begun before one is met in its middle: looks come late on a busy machine. */
const TRIES = 5;
let seed = 100;

/** Bytes on their way to a container that answers them, and back. */
export interface Transfer {
  /** Resolves when all of them are back, unchanged. @throws when they are not */
  done(): Promise<void>;
}

/** Resolves in the middle of one; those that were not met there have been carried whole. */
export async function beginTransfer(port: number): Promise<Transfer> {
  for (let tries = 1; tries <= TRIES; tries++) {
    const { socket, done } = await begin(port);
    await until('the transfer to be going on', () => socket.bytesRead > BYTES / 4, WAIT_MS);
    if (socket.bytesRead <= BYTES / 2) return { done };
    await done();
  }
  throw new Error(`${TRIES} transfers were too short to be met in their middle`);
}

async function begin(port: number): Promise<Transfer & { readonly socket: Socket }> {
  const socket = await connectTo(port);
  const ours = ++seed;
  const received = receiveBytes(socket);
  received.catch(() => {}); // `done` says so
  sendBytes(socket, ours, BYTES);
  return {
    socket,
    done: async () => same(await received, { digest: digestOf(ours, BYTES), bytes: BYTES }, 'what came back'),
  };
}
