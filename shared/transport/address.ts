import { isIP } from 'node:net';
import { BridgeError } from '../errors.ts';

/** Where a transport listens or dials. */
export type TransportAddress =
  | { readonly scheme: 'unix'; readonly path: string; readonly url: string }
  | { readonly scheme: 'tcp'; readonly host: string; readonly port: number; readonly url: string }
  | VsockAddress;

/** AF_VSOCK (vsock(7)): a context id and a port, both of 32 bits. */
export interface VsockAddress {
  readonly scheme: 'vsock';
  /** VMADDR_CID_ANY where none was given. */
  readonly cid: number;
  readonly port: number;
  readonly url: string;
}

/** Every context id of this machine, to listen. */
export const VMADDR_CID_ANY = 0xffff_ffff;
/** This machine itself, where vsock_loopback is loaded. */
export const VMADDR_CID_LOCAL = 1;
/** The machine that runs the VM. */
export const VMADDR_CID_HOST = 2;

const KNOWN = 'unix:///path, tcp://127.0.0.1:PORT and vsock://CID:PORT';

/**
 * Parses a transport URL: `unix:///path`, `tcp://127.0.0.1:PORT`, `tcp://[::1]:PORT`, `vsock://CID:PORT` with `host`
 * and `local` for CIDs 2 and 1, and, to listen, `vsock://:PORT`.
 * TCP is for a loopback address only: the link is not encrypted.
 * @throws BridgeError BAD_REQUEST; an unknown scheme names the known ones
 */
export function parseAddress(url: string): TransportAddress {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  if (scheme === 'unix') return parseUnix(url);
  if (scheme === 'tcp') return parseTcp(url);
  if (scheme === 'vsock') return parseVsock(url);
  const what = scheme === undefined ? `"${url}" is no URL` : `unknown scheme "${scheme}:" in "${url}"`;
  throw new BridgeError('BAD_REQUEST', `${what}; known are ${KNOWN}`);
}

/** Parses the URL of somebody to dial. @throws BridgeError BAD_REQUEST as parseAddress does, and where it names nobody */
export function parseDialAddress(url: string): TransportAddress {
  const address = parseAddress(url);
  if (address.scheme === 'vsock' && address.cid === VMADDR_CID_ANY)
    throw new BridgeError('BAD_REQUEST', `"${url}" says nobody to dial: vsock://CID:PORT`);
  return address;
}

function parseUnix(url: string): TransportAddress {
  const match = /^unix:\/\/(\/[^\0]+)$/.exec(url);
  if (match === null)
    throw new BridgeError('BAD_REQUEST', `"${url}" needs an absolute path: unix:///run/portferry.sock`);
  const path = match[1]!;
  // sockaddr_un holds 108 bytes on Linux and 104 elsewhere, one of them the final NUL (unix(7)).
  const longest = process.platform === 'linux' ? 107 : 103;
  if (process.platform !== 'win32' && Buffer.byteLength(path) > longest)
    throw new BridgeError('BAD_REQUEST', `"${url}": a socket's path may have ${longest} bytes at the most`);
  return { scheme: 'unix', path, url };
}

function parseTcp(url: string): TransportAddress {
  const match = /^tcp:\/\/(\[[^\]]+\]|[^:[\]/]+):(\d{1,5})$/.exec(url);
  const host = match?.[1]?.replace(/^\[|\]$/g, '');
  const port = Number(match?.[2]);
  if (host === undefined || isIP(host) === 0 || port > 65_535)
    throw new BridgeError('BAD_REQUEST', `"${url}" is not tcp://IP:PORT (IPv6 in brackets)`);
  if (!host.startsWith('127.') && host !== '::1')
    throw new BridgeError(
      'BAD_REQUEST',
      `"${url}": the tcp transport is for loopback only, since it is neither encrypted nor authenticated`,
    );
  return { scheme: 'tcp', host, port, url };
}

const CID_NAMES = new Map([
  ['', VMADDR_CID_ANY],
  ['local', VMADDR_CID_LOCAL],
  ['host', VMADDR_CID_HOST],
]);

function parseVsock(url: string): VsockAddress {
  const match = /^vsock:\/\/(\d{1,10}|host|local|):(\d{1,10})$/.exec(url);
  if (match === null) throw new BridgeError('BAD_REQUEST', `"${url}" is not vsock://CID:PORT`);
  const cid = CID_NAMES.get(match[1]!) ?? Number(match[1]);
  const port = Number(match[2]);
  // Zero is nobody's CID that takes streams, and all ones (VMADDR_CID_ANY, VMADDR_PORT_ANY) is no number of anybody.
  if (match[1] !== '' && !isVsockNumber(cid))
    throw new BridgeError('BAD_REQUEST', `"${url}": a CID is a number from 1 to 4294967294`);
  if (!isVsockNumber(port))
    throw new BridgeError('BAD_REQUEST', `"${url}": a vsock port is a number from 1 to 4294967294`);
  return { scheme: 'vsock', cid, port, url };
}

/** Whether a number can be the CID, or the port, of somebody. */
export function isVsockNumber(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number < VMADDR_CID_ANY;
}
