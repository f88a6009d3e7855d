/** Clients on this machine of a container that guest/hello-container.ts runs in. */
import { createSocket } from 'node:dgram';
import { messageOf } from '../../../shared/errors.ts';
import { until } from '../../helpers/processes.ts';
import { WAIT_MS } from '../cases.ts';

const HELLO = 'hello from the container\n';
/** When an unanswered datagram is sent again, milliseconds. */
const AGAIN_MS = 1_000;

/** Waits until a loopback port is served. */
export function untilServed(port: number): Promise<true> {
  return until(
    `port ${port} to be served`,
    async () => (await http(port)) === HELLO,
    WAIT_MS,
  ) as Promise<true>;
}

/** What a loopback port answers, or why it does not. */
export async function http(port: number): Promise<string> {
  try {
    return await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text();
  } catch (error) {
    return messageOf((error as Error).cause ?? error);
  }
}

/** Sends a datagram until it is answered. */
export async function datagram(port: number, text: string): Promise<string> {
  const socket = createSocket('udp4');
  let answer: string | undefined;
  socket.on('message', (payload) => {
    answer = payload.toString();
  });
  socket.on('error', () => {});
  const send = (): void => socket.send(text, port, '127.0.0.1');
  const timer = setInterval(send, AGAIN_MS);
  send();
  try {
    return await until('the datagram to come back', () => answer, WAIT_MS);
  } finally {
    clearInterval(timer);
    socket.close();
  }
}
