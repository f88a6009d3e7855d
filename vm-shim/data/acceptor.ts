/**
 * What arrives on the shim's one well-known port: links and dedicated streams, told apart by their first two
 * bytes. A dedicated stream is carried only when its preface holds the key of a link that is up.
 */
import type { Socket } from 'node:net';
import { BridgeError, ERRNO } from '../../shared/errors.ts';
import { dedicatedEnd } from '../../shared/link/dedicated-end.ts';
import type { PeerStreams } from '../../shared/link/peer-streams.ts';
import { StreamSorter } from '../../shared/link/stream-sorter.ts';
import type { Logger } from '../../shared/logger.ts';
import {
  decodePreface,
  encodeResult,
  MAX_PREFACE_BYTES,
  PREFACE_MAGIC,
  type Preface,
} from '../../shared/preface.ts';
import { type IncomingContext, serveIncoming } from './incoming.ts';

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
  private readonly sorter: StreamSorter<Preface>;

  constructor(options: AcceptorOptions) {
    this.options = options;
    const { onLink, log } = options;
    this.sorter = new StreamSorter({
      kind: {
        magic: PREFACE_MAGIC,
        what: 'a dedicated stream',
        maxBytes: MAX_PREFACE_BYTES,
        decode: decodePreface,
      },
      onLink,
      onStream: (preface, stream) => this.serve(preface, stream),
      log,
    });
  }

  /** Takes over a stream that was just accepted. */
  accept(stream: Socket): void {
    this.sorter.accept(stream);
  }

  /** Destroys every stream that has not said what it is, and takes no more. */
  close(): void {
    this.sorter.close();
  }

  private serve(preface: Preface, stream: Socket): void {
    const { ownerOf, context } = this.options;
    const owner = ownerOf(preface.streamKey);
    if (owner === undefined) {
      stream.end(encodeResult(ERRNO.EACCES));
      throw new BridgeError('PERMISSION_DENIED', 'a dedicated stream carries the key of no link that is up');
    }
    const { streamId } = preface;
    const end = dedicatedEnd({ socket: stream, streamId, streams: owner.streams, answers: true });
    serveIncoming({ end, udpFlows: owner.udpFlows, ...preface }, context);
  }
}
