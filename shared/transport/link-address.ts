/** URLs of a link: any transport with many streams, and those with one, which each side has of its own. */
import { BridgeError } from '../errors.ts';
import { isPlainAddress, parseAddress, parseDialAddress, type TransportAddress } from './address.ts';
import { type ExecAddress, parseExec } from './exec.ts';
import { parseSerial, parseSerialSocket, type SerialAddress, type SerialSocketAddress } from './serial.ts';
import { parseStdio, type StdioAddress } from './stdio.ts';

/** Transports with one stream that the host begins. */
export type HostEndAddress = ExecAddress | SerialSocketAddress;
/** Transports with one stream that a VM has from its start. */
export type VmEndAddress = StdioAddress | SerialAddress;

const HOST_ENDS: ReadonlyMap<string, (url: string) => HostEndAddress> = new Map<
  string,
  (url: string) => HostEndAddress
>([
  ['exec', parseExec],
  ['serial+unix', parseSerialSocket],
]);
const VM_ENDS: ReadonlyMap<string, (url: string) => VmEndAddress> = new Map<
  string,
  (url: string) => VmEndAddress
>([
  ['stdio', parseStdio],
  ['serial', parseSerial],
]);

/** Parses what `host-agent --connect` takes. @throws BridgeError BAD_REQUEST */
export function parseHostLink(url: string): TransportAddress | HostEndAddress {
  const scheme = schemeOf(url);
  if (VM_ENDS.has(scheme))
    throw new BridgeError('BAD_REQUEST', `"${url}" is for vm-shim --listen, not for the host agent`);
  const parse = HOST_ENDS.get(scheme);
  return parse === undefined ? parseDialAddress(url) : parse(url);
}

/** Parses what `vm-shim --listen` takes. @throws BridgeError BAD_REQUEST */
export function parseVmLink(url: string): TransportAddress | VmEndAddress {
  const scheme = schemeOf(url);
  if (HOST_ENDS.has(scheme))
    throw new BridgeError('BAD_REQUEST', `"${url}" is for host-agent --connect, not for the VM shim`);
  const parse = VM_ENDS.get(scheme);
  return parse === undefined ? inVm(parseAddress(url)) : parse(url);
}

/** Parses what `vm-shim --connect` takes. @throws BridgeError BAD_REQUEST */
export function parseVmDial(url: string): TransportAddress {
  return inVm(parseDialAddress(url));
}

/** Whether an address has one stream that the host begins. */
export function isHostEnd(address: TransportAddress | HostEndAddress): address is HostEndAddress {
  return HOST_ENDS.has(address.scheme);
}

/** Whether an address has one stream that the VM has from its start. */
export function isVmEnd(address: TransportAddress | VmEndAddress): address is VmEndAddress {
  return VM_ENDS.has(address.scheme);
}

function schemeOf(url: string): string {
  return url.slice(0, Math.max(0, url.indexOf(':')));
}

/** @throws BridgeError BAD_REQUEST for what only the machine has that runs the VM */
function inVm(address: TransportAddress): TransportAddress {
  if (isPlainAddress(address) || address.scheme === 'npipe') return address;
  throw new BridgeError(
    'BAD_REQUEST',
    `"${address.url}" is for the host agent; in the VM the same port is vsock://:${address.port} to listen, vsock://host:${address.port} to dial`,
  );
}
