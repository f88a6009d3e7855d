/** Where the shim serves what is in the VM. */
import { isIP } from 'node:net';
import { BridgeError } from '../shared/errors.ts';
import { parseAddress, type TransportAddress } from '../shared/transport/address.ts';

/** A kernel mounts it from a unix socket, whose permissions say who may. @throws BridgeError BAD_REQUEST */
export function parsePortFs(url: string): TransportAddress & { readonly scheme: 'unix' } {
  const address = parseAddress(url);
  if (address.scheme === 'unix') return address;
  throw new BridgeError('BAD_REQUEST', `--port-fs ${url}: it is served on a unix socket: unix:///path`);
}

/** @throws BridgeError BAD_REQUEST */
export function parseGateway(text: string): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:[\]]+):(\d{1,5})$/.exec(text);
  const host = match?.[1]?.replace(/^\[|\]$/g, '') ?? '';
  const port = Number(match?.[2]);
  if (isIP(host) === 0 || port > 65_535)
    throw new BridgeError('BAD_REQUEST', `--gateway-api "${text}" is not IP:PORT (IPv6 in brackets)`);
  return { host, port };
}
