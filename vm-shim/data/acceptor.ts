/**
 * What arrives on the shim's one well-known port: links and dedicated streams, told apart by their first two
 * bytes. A dedicated stream is carried only when its preface holds the key of a link that is up.
 */
import type { Socket } from 'node:net';
import { BridgeError, ERRNO, messageOf } from '../../shared/errors.ts';
import { Limit } from '../../shared/limit.ts';
import { dedicatedEnd } from '../../shared/link/dedicated-end.ts';
import { HANDSHAKE_TEXT } from '../../shared/link/handshake.ts';
import type { PeerStreams } from '../../shared/link/peer-streams.ts';
import { readHead } from '../../shared/link/read-head.ts';
import type { Logger } from '../../shared/logger.ts';
import {
  decodePreface,
  encodeResult,
  MAX_PREFACE_BYTES,
  PREFACE_MAGIC,
  type Preface,
} from '../../shared/preface.ts';
import { type IncomingContext, serveIncoming } from './incoming.ts';

const HEAD_MS = 10_000;
/** Streams at once that have not said what they are. */
const MAX_UNKNOWN = 512;

/** A link that is up, as far as its dedicated streams go. */
export interface StreamOwner {
  readonly streams: PeerStreams;
  readonly udpFlows: boolean;
}

export interface AcceptorOptions {
  /** Finds the link that drew a key. */
  readonly ownerOf: (streamKey: Buffer) => StreamOwner | undefined;
  readonly onLink: (stream: Socket) => void;
  readonly context: IncomingContext;
  readonly log: Logger;
}

export class Acceptor {
  private readonly options: AcceptorOptions;
  private readonly limit: Limit;
  private readonly unknown = new Set<Socket>();
  private closed = false;

  constructor(options: AcceptorOptions) {
    this.options = options;
    this.limit = new Limit('streams that have not said what they are', MAX_UNKNOWN, options.log);
  }

  /** Takes over a stream that was just accepted. */
  accept(stream: Socket): void {
    if (this.closed || !this.limit.take()) {
      stream.destroy();
      return;
    }
    this.unknown.add(stream);
    this.sort(stream)
      .catch((error) => {
        stream.destroy();
        const code = error instanceof BridgeError ? error.code : undefined;
        if (!this.closed) this.options.log.warn({ code }, `stream refused: ${messageOf(error)}`);
      })
      .finally(() => {
        this.unknown.delete(stream);
        this.limit.give();
      });
  }

  /** Destroys every stream that has not said what it is, and takes no more. */
  close(): void {
    this.closed = true;
    for (const stream of this.unknown) stream.destroy();
  }

  private async sort(stream: Socket): Promise<void> {
    const { onLink, ownerOf, context } = this.options;
    const preface = await readHead(stream, readKind, {
      what: 'first bytes',
      maxBytes: MAX_PREFACE_BYTES,
      timeoutMs: HEAD_MS,
    });
    if (preface === 'link') return onLink(stream);
    const owner = ownerOf(preface.streamKey);
    if (owner === undefined) {
      stream.end(encodeResult(ERRNO.EACCES));
      throw new BridgeError('PERMISSION_DENIED', 'a dedicated stream carries the key of no link that is up');
    }
    const { streamId } = preface;
    const end = dedicatedEnd({ socket: stream, streamId, streams: owner.streams, answers: true });
    serveIncoming({ ...preface, end, udpFlows: owner.udpFlows }, context);
  }
}

/** Tells the kinds apart by their first two bytes; a link's bytes stay for the handshake. */
function readKind(bytes: Buffer): { value: 'link' | Preface; used: number } | undefined {
  if (bytes.length < 2) return undefined;
  const first = bytes.subarray(0, 2);
  if (first.equals(PREFACE_MAGIC)) return decodePreface(bytes);
  if (first.equals(HANDSHAKE_TEXT.subarray(0, 2))) return { value: 'link', used: 0 };
  throw new BridgeError(
    'PROTOCOL',
    `it begins with 0x${first.toString('hex')}, which is neither a link nor a dedicated stream`,
  );
}
