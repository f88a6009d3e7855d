/**
 * Sets a link up: handshake and hello both ways, and where there is a token the proofs of it. A peer whose handshake carries
 * no hello is a vpnkit; it is let in only where `legacyPeer` says so.
 */
import type { Duplex } from 'node:stream';
import { decodeHello, encodeHello, type Hello } from '../control-codec.ts';
import { BridgeError } from '../errors.ts';
import { Admission } from './admission.ts';
import { decodeHandshake, encodeHandshake, MAX_HANDSHAKE_BYTES } from './handshake.ts';
import { Link, type LinkOptions, STEP_MS } from './link.ts';
import { freshNonce } from './nonce.ts';
import { prove } from './proof.ts';
import { readHead } from './read-head.ts';

/**
 * Sets a link up on a fresh stream. On failure the stream is closed; if its peer did not prove itself, by and by.
 * @throws BridgeError PROTOCOL (another protocol or version, no hello, wrong role), AUTH_FAILED, TIMEOUT, LINK_LOST,
 *   CANCELLED, and what reading the token throws
 */
export async function establishLink(stream: Duplex, options: LinkOptions): Promise<Link> {
  const { identity, dialled, signal, admission = new Admission('here', options.log) } = options;
  let link: Link | undefined;
  stream.on('error', () => {}); // told by whoever reads at that time
  admission.enter(stream);
  try {
    const token = await options.readToken?.();
    const hello = encodeHello(identity.nextHello(token && freshNonce()));
    stream.write(encodeHandshake(hello));
    const payload = await readHead(stream, decodeHandshake, {
      what: 'handshake',
      maxBytes: MAX_HANDSHAKE_BYTES,
      timeoutMs: STEP_MS,
      signal,
    });
    const peer = payload.length === 0 ? undefined : decodeHello(payload);
    checkTokens(peer, token !== undefined);
    checkPeer(peer, options);
    if (token !== undefined) {
      const hellos = dialled ? { dialler: hello, acceptor: payload } : { dialler: payload, acceptor: hello };
      const side = dialled ? 'dialler' : 'acceptor';
      await prove(stream, { token, side, hellos, timeoutMs: STEP_MS, signal });
    }
    link = new Link(stream, peer, options);
    await link.begin();
    admission.admit(stream);
    return link;
  } catch (error) {
    link?.close();
    admission.refuse(stream, error, dialled);
    throw error;
  }
}

function checkPeer(peer: Hello | undefined, options: LinkOptions): void {
  if (peer === undefined && !options.legacyPeer)
    throw new BridgeError(
      'PROTOCOL',
      'the peer sent no hello: it is a vpnkit, or no portferry; --legacy-peer lets it in',
    );
  if (peer !== undefined && peer.role === options.identity.role)
    throw new BridgeError(
      'PROTOCOL',
      `both sides are a ${peer.role === 'host' ? 'host agent' : 'VM shim'}: check the URLs`,
    );
}

/** Both sides have a token, or none has. Each end says the same of it. */
function checkTokens(peer: Hello | undefined, have: boolean): void {
  const peerHas = peer?.nonce !== undefined;
  if (have && peer === undefined)
    throw new BridgeError(
      'AUTH_FAILED',
      'the peer sent no hello, so it cannot prove that it has our token: with --token-file no vpnkit is let in',
    );
  if (have && !peerHas)
    throw new BridgeError(
      'AUTH_FAILED',
      'we ask for proof of our token, and the peer has none: give it the same with --token-file',
    );
  if (!have && peerHas)
    throw new BridgeError(
      'AUTH_FAILED',
      'the peer asks for proof of a token, and we have none: give us the same with --token-file',
    );
}
