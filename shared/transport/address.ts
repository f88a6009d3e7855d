import { isIP } from 'node:net';
import { BridgeError } from '../errors.ts';
import { onWindows } from '../platform/choose.ts';
import { type HybridAddress, parseHybrid } from './hybrid.ts';
import { type HyperkitAddress, parseHyperkit } from './hyperkit.ts';
import { type PipeAddress, parsePipe } from './npipe.ts';
import { checkSocketPath } from './socket-path.ts';
import { checkCid, checkVsockPort, VMADDR_CID_ANY } from './vsock-number.ts';

/** Where a transport listens or dials that carries many streams. */
export type TransportAddress = PlainAddress | HybridAddress | HyperkitAddress | PipeAddress;

/** Where streams are sockets from their first byte on, so that workers of the Linux engine can open them too. */
export type PlainAddress =
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

/** This machine itself, where vsock_loopback is loaded. */
export const VMADDR_CID_LOCAL = 1;
/** The machine that runs the VM. */
export const VMADDR_CID_HOST = 2;

/** What parses a URL of each scheme. */
const PARSERS: Record<TransportAddress['scheme'], (url: string, windows: boolean) => TransportAddress> = {
  unix: parseUnix,
  tcp: parseTcp,
  vsock: parseVsock,
  hybrid: parseHybrid,
  hyperkit: parseHyperkit,
  npipe: parsePipe,
};

const KNOWN =
  'unix:///path, tcp://127.0.0.1:PORT, vsock://CID:PORT, hybrid:///path?port=N, hyperkit:///dir?cid=3&port=N and npipe:////./pipe/NAME';

/**
 * Parses the URL of a transport that carries many streams.
 * @throws BridgeError BAD_REQUEST; an unknown scheme names the known ones
 */
export function parseAddress(url: string, windows = onWindows): TransportAddress {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  if (scheme !== undefined && Object.hasOwn(PARSERS, scheme))
    return PARSERS[scheme as TransportAddress['scheme']](url, windows);
  const what = scheme === undefined ? `"${url}" is no URL` : `unknown scheme "${scheme}:" in "${url}"`;
  throw new BridgeError('BAD_REQUEST', `${what}; known are ${KNOWN}`);
}

/** Parses the URL of somebody to dial. @throws BridgeError BAD_REQUEST as parseAddress does, and where it names nobody */
export function parseDialAddress(url: string): TransportAddress {
  const address = parseAddress(url);
  if (address.scheme === 'tcp' && address.port === 0)
    throw new BridgeError('BAD_REQUEST', `"${url}" has no port to dial; port 0 is for listening`);
  if (!('cid' in address) || address.cid !== VMADDR_CID_ANY) return address;
  const full = address.scheme === 'vsock' ? 'vsock://CID:PORT' : 'hyperkit:///directory?cid=3&port=N';
  throw new BridgeError('BAD_REQUEST', `"${url}" says nobody to dial: ${full}`);
}

function parseUnix(url: string, windows: boolean): PlainAddress {
  const match = /^unix:\/\/(\/[^\0]+)$/.exec(url);
  if (match === null)
    throw new BridgeError('BAD_REQUEST', `"${url}" needs an absolute path: unix:///run/portferry.sock`);
  const path = match[1]!;
  checkSocketPath(path, url, windows);
  return { scheme: 'unix', path, url };
}

function parseTcp(url: string): PlainAddress {
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
  if (match[1] !== '') checkCid(cid, url);
  checkVsockPort(port, url);
  return { scheme: 'vsock', cid, port, url };
}

/** Whether streams to an address are sockets from their first byte on. */
export function isPlainAddress(address: { readonly scheme: string }): address is PlainAddress {
  return address.scheme === 'unix' || address.scheme === 'tcp' || address.scheme === 'vsock';
}
