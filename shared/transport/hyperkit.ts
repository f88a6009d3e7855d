/**
 * AF_VSOCK of a VM as HyperKit has it on the host: a directory with one socket to dial, on which the CID and port are
 * asked for by a line of text that nobody answers, and a socket for each port that the VM dials (pci_virtio_sock.c).
 */
import type { Socket } from 'node:net';
import { BridgeError } from '../errors.ts';
import { onWindows } from '../platform/choose.ts';
import { connectSocket } from './socket-dial.ts';
import { checkSocketPath } from './socket-path.ts';
import { checkCid, checkVsockPort, VMADDR_CID_ANY } from './vsock-number.ts';

/** `hyperkit:///DIR?cid=3&port=N`; to listen, the CID may be left out. */
export interface HyperkitAddress {
  readonly scheme: 'hyperkit';
  /** The `path=` of virtio-sock. */
  readonly path: string;
  /** The VM's; VMADDR_CID_ANY where none was given. */
  readonly cid: number;
  readonly port: number;
  readonly url: string;
}

/** Streams that the VM opens are for this CID, the host's. */
const HOST_CID = 2;

export function parseHyperkit(url: string, windows = onWindows): HyperkitAddress {
  const match = /^hyperkit:\/\/(\/[^\0]*?)\/?\?(?:cid=(\d{1,10})&)?port=(\d{1,10})$/.exec(url);
  if (match === null)
    throw new BridgeError('BAD_REQUEST', `"${url}" is not hyperkit:///directory?cid=3&port=N`);
  const cid = match[2] === undefined ? VMADDR_CID_ANY : Number(match[2]);
  const address = { scheme: 'hyperkit', path: match[1]!, cid, port: Number(match[3]), url } as const;
  if (match[2] !== undefined) checkCid(cid, url);
  checkVsockPort(address.port, url);
  checkSocketPath(hyperkitListenPath(address), url, windows);
  return address;
}

/** Where streams that the VM opens to our port arrive. */
export function hyperkitListenPath({ path, port }: HyperkitAddress): string {
  return `${path}/${numbers(HOST_CID, port)}`;
}

/**
 * Dials a port of the VM. HyperKit answers nothing: a refusal is an end of the stream, which only its reader sees.
 * @throws BridgeError NO_LINK, PERMISSION_DENIED or CANCELLED, naming the URL
 */
export async function dialHyperkit(
  { path, cid, port, url }: HyperkitAddress,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = await connectSocket({ path: `${path}/connect` }, url, signal);
  // One write of 18 bytes: HyperKit reads once and takes no less.
  socket.write(hyperkitRequest(cid, port));
  return socket;
}

/** The line that asks for a port of the VM. */
export function hyperkitRequest(cid: number, port: number): string {
  return `${numbers(cid, port)}\n`;
}

/** What it means that a stream ends before its first byte. */
export function hyperkitRefusal({ cid, port }: HyperkitAddress): string {
  return `HyperKit accepted, but CID ${cid} is not its VM's or nobody listens on port ${port} in the VM (is portferry vm-shim running there?)`;
}

/** `%08x.%08x` */
function numbers(cid: number, port: number): string {
  return [cid, port].map((each) => each.toString(16).padStart(8, '0')).join('.');
}
