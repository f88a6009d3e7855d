import { isIP } from 'node:net';
import { BridgeError } from '../errors.ts';

/** Where a transport listens or dials. */
export type TransportAddress =
  | { readonly scheme: 'unix'; readonly path: string; readonly url: string }
  | { readonly scheme: 'tcp'; readonly host: string; readonly port: number; readonly url: string };

const KNOWN = 'unix:///path and tcp://127.0.0.1:PORT';

/**
 * Parses a transport URL: `unix:///path`, `tcp://127.0.0.1:PORT`, `tcp://[::1]:PORT`.
 * TCP is for a loopback address only: the link is not encrypted.
 * @throws BridgeError BAD_REQUEST; an unknown scheme names the known ones
 */
export function parseAddress(url: string): TransportAddress {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  if (scheme === 'unix') return parseUnix(url);
  if (scheme === 'tcp') return parseTcp(url);
  const what = scheme === undefined ? `"${url}" is no URL` : `unknown scheme "${scheme}:" in "${url}"`;
  throw new BridgeError('BAD_REQUEST', `${what}; known are ${KNOWN}`);
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
