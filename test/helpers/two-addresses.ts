import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** A network namespace of one's own with two addresses of each family on one interface, and clients that ask them. */

const ANSWER_MS = 20_000;
const LOOPBACKS = ['127.0.0.1', '::1'];

/** Runs ip(8). */
export const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
};

/** A dummy interface, or one end of a veth pair on kernels that have no dummy. */
function makeBareInterface(): string {
  ip('link', 'set', 'lo', 'up');
  try {
    ip('link', 'add', 'test0', 'type', 'dummy');
  } catch {
    ip('link', 'add', 'test0', 'type', 'veth', 'peer', 'name', 'test1');
    ip('link', 'set', 'test1', 'up');
  }
  ip('link', 'set', 'test0', 'up');
  return 'test0';
}

/**
 * Asks from another address than the one it asks: asked from the same, the kernel would answer from that one anyway.
 */
export async function ask(address: string, port: number, waitMs = ANSWER_MS): Promise<string> {
  const client = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const deadline = AbortSignal.timeout(waitMs);
  try {
    if (!LOOPBACKS.includes(address)) client.bind(0, otherThan(address));
    client.connect(port, address);
    await once(client, 'connect', { signal: deadline });
    client.send('hello');
    const [answer] = await once(client, 'message', { signal: deadline });
    return String(answer);
  } catch (error) {
    return `no answer: ${(error as Error).name}`;
  } finally {
    client.close();
  }
}

function otherThan(address: string): string {
  const last = address.at(-1) === '1' ? '2' : '1';
  return `${address.slice(0, -1)}${last}`;
}

/** An interface that is up and has 10.77.0.1, 10.77.0.2, fd77::1 and fd77::2. @returns its name */
export function makeInterface(): string {
  const name = makeBareInterface();
  ip('addr', 'add', '10.77.0.1/24', 'dev', name);
  ip('addr', 'add', '10.77.0.2/24', 'dev', name);
  ip('addr', 'add', 'fd77::1/64', 'dev', name, 'nodad');
  ip('addr', 'add', 'fd77::2/64', 'dev', name, 'nodad');
  return name;
}
