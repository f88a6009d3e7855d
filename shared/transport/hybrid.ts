/**
 * AF_VSOCK of a VM as Firecracker and cloud-hypervisor have it on the host: one unix socket to dial, on which the port
 * is asked for by a line of text, and a socket beside it for each port that the VM dials (Firecracker docs/vsock.md).
 */
import type { Socket } from 'node:net';
import { BridgeError, messageOf } from '../errors.ts';
import { readHead } from '../link/read-head.ts';
import { onWindows } from '../platform/choose.ts';
import { connectSocket } from './socket-dial.ts';
import { checkSocketPath } from './socket-path.ts';
import { checkVsockPort } from './vsock-number.ts';

/** `hybrid:///path/of/the/uds?port=N` */
export interface HybridAddress {
  readonly scheme: 'hybrid';
  /** The `uds_path` of Firecracker, the `socket=` of cloud-hypervisor. */
  readonly path: string;
  readonly port: number;
  readonly url: string;
}

/** Firecracker gives a VM that does not answer 2 s, so an answer that takes longer than this does not come. */
const ANSWER_MS = 10_000;
/** `OK `, the ten digits of a number of 32 bits, and a newline, with room for a carriage return. */
const MAX_ANSWER_BYTES = 16;

export function parseHybrid(url: string, windows = onWindows): HybridAddress {
  const match = /^hybrid:\/\/(\/[^\0]+)\?port=(\d{1,10})$/.exec(url);
  if (match === null)
    throw new BridgeError('BAD_REQUEST', `"${url}" is not hybrid:///path/of/the/socket?port=N`);
  const address = { scheme: 'hybrid', path: match[1]!, port: Number(match[2]), url } as const;
  checkVsockPort(address.port, url);
  checkSocketPath(hybridListenPath(address), url, windows);
  return address;
}

/** Where streams that the VM opens to our port arrive. */
export function hybridListenPath({ path, port }: HybridAddress): string {
  return `${path}_${port}`;
}

/**
 * Dials a port of the VM.
 * @throws BridgeError NO_LINK, PERMISSION_DENIED, PROTOCOL, TIMEOUT or CANCELLED, naming the URL
 */
export async function dialHybrid(address: HybridAddress, signal: AbortSignal): Promise<Socket> {
  const { url, path, port } = address;
  const socket = await connectSocket({ path }, url, signal);
  socket.write(`CONNECT ${port}\n`);
  try {
    await readHead(socket, parseHybridAnswer, {
      what: 'answer to CONNECT',
      maxBytes: MAX_ANSWER_BYTES,
      timeoutMs: ANSWER_MS,
      signal,
    });
    return socket;
  } catch (error) {
    socket.destroy();
    throw refusal(address, error);
  }
}

/**
 * `OK <the number of our side's port>\n`.
 * @returns undefined while incomplete
 * @throws BridgeError PROTOCOL as soon as it can be no such line
 */
export function parseHybridAnswer(bytes: Buffer): { value: number; used: number } | undefined {
  const text = bytes.toString('latin1', 0, MAX_ANSWER_BYTES);
  const whole = /^OK (\d{1,10})\r?\n/.exec(text);
  if (whole !== null) return { value: Number(whole[1]), used: whole[0].length };
  if (/^(?:O?|OK|OK \d{0,10}|OK \d{1,10}\r)$/.test(text) && bytes.length < MAX_ANSWER_BYTES) return undefined;
  throw new BridgeError('PROTOCOL', `it answered ${JSON.stringify(text)} instead of "OK <port>"`);
}

function refusal({ url, port }: HybridAddress, error: unknown): BridgeError {
  const code = error instanceof BridgeError ? error.code : 'IO';
  const because = (why: string, as = code) =>
    new BridgeError(as, `cannot connect to ${url}: ${why}`, { cause: error });
  if (code === 'CANCELLED') return new BridgeError('CANCELLED', `dialling ${url} was cancelled`);
  if (code === 'LINK_LOST')
    return because(
      `the hypervisor accepted, but nobody listens on port ${port} in the VM (is portferry vm-shim running there?)`,
      'NO_LINK',
    );
  if (code === 'TIMEOUT')
    return because(
      `the hypervisor accepted, but did not answer CONNECT ${port} within ${ANSWER_MS / 1000} s (is the VM paused?)`,
    );
  return because(`${messageOf(error)} (is it the vsock socket of a hypervisor?)`);
}
