/** Streams that have just arrived at a listener, until their first bytes have said what they are. */
import type { Socket } from 'node:net';
import { BridgeError, messageOf } from '../errors.ts';
import { Limit } from '../limit.ts';
import type { Logger } from '../logger.ts';
import { HANDSHAKE_TEXT } from './handshake.ts';
import { readHead } from './read-head.ts';

const HEAD_MS = 10_000;
/** Streams at once that have not said what they are; past it the oldest is closed, so that silent ones lock nobody out. */
const MAX_UNKNOWN = 512;

/** A kind of stream besides links, which its first two bytes tell. */
export interface StreamKind<Head> {
  readonly magic: Buffer;
  /** For error texts ("a dedicated stream"). */
  readonly what: string;
  readonly maxBytes: number;
  /** @returns undefined while it is incomplete. @throws BridgeError PROTOCOL */
  decode(bytes: Buffer): { value: Head; used: number } | undefined;
}

export interface StreamSorterOptions<Head> {
  readonly kind: StreamKind<Head>;
  /** Gets links with all of their bytes, paused. */
  readonly onLink: (stream: Socket) => void;
  /** Gets the others, paused behind their head. What it throws is a refusal; the stream is then closed. */
  readonly onStream: (head: Head, stream: Socket) => void;
  readonly log: Logger;
}

export class StreamSorter<Head> {
  private readonly options: StreamSorterOptions<Head>;
  private readonly limit: Limit;
  private readonly unknown = new Set<Socket>();
  private refused = 0;
  private closed = false;

  constructor(options: StreamSorterOptions<Head>) {
    this.options = options;
    this.limit = new Limit('streams that have not said what they are', MAX_UNKNOWN, options.log);
  }

  /** Takes over a stream that was just accepted. */
  accept(stream: Socket): void {
    if (this.closed) {
      stream.destroy();
      return;
    }
    if (!this.limit.take()) this.closeOldest(); // its place is the new one's
    this.unknown.add(stream);
    this.sort(stream)
      .catch((error) => {
        stream.destroy();
        if (!this.closed) this.tell(error);
      })
      .finally(() => {
        if (this.unknown.delete(stream)) this.limit.give();
      });
  }

  /** Destroys every stream that has not said what it is, and takes no more. */
  close(): void {
    this.closed = true;
    for (const stream of this.unknown) stream.destroy();
  }

  private closeOldest(): void {
    const [oldest] = this.unknown;
    if (oldest === undefined) return;
    this.unknown.delete(oldest);
    oldest.destroy();
  }

  private async sort(stream: Socket): Promise<void> {
    const { kind, onLink, onStream } = this.options;
    const head = await readHead(stream, (bytes) => this.read(bytes), {
      what: 'first bytes',
      maxBytes: kind.maxBytes,
      timeoutMs: HEAD_MS,
    });
    if (head === LINK) onLink(stream);
    else onStream(head, stream);
  }

  /** Tells the kinds apart by their first two bytes; a link's bytes stay for the handshake. */
  private read(bytes: Buffer): { value: Head | typeof LINK; used: number } | undefined {
    if (bytes.length < 2) return undefined;
    const { kind } = this.options;
    const first = bytes.subarray(0, 2);
    if (first.equals(kind.magic)) return kind.decode(bytes);
    if (first.equals(HANDSHAKE_TEXT.subarray(0, 2))) return { value: LINK, used: 0 };
    throw new BridgeError(
      'PROTOCOL',
      `it begins with 0x${first.toString('hex')}, which is neither a link nor ${kind.what}`,
    );
  }

  /** Of many refusals, the first and those at powers of two are warnings. */
  private tell(error: unknown): void {
    const refused = ++this.refused;
    const level = (refused & (refused - 1)) === 0 ? 'warn' : 'debug';
    const code = error instanceof BridgeError ? error.code : undefined;
    this.options.log[level]({ code, refused }, `stream refused: ${messageOf(error)}`);
  }
}

const LINK = Symbol('link');
