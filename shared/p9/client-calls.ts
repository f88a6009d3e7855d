/**
 * The tags of a 9P client over one stream: any number of requests at once, each answered, cancelled, or rejected with the
 * connection. A request is cancelled by its AbortSignal, which sends Tflush; the tag is not used again before the Rflush,
 * and a reply that comes before it counts (flush(5)).
 */
import type { Duplex } from 'node:stream';
import { BridgeError, messageOf } from '../errors.ts';
import { Channel } from './channel.ts';
import { decode, encode } from './codec.ts';
import { errorFromWire } from './error-text.ts';
import type { Message, MessageOf, ReplyNameFor, RequestName } from './messages.ts';
import { type Dialect, NO_TAG } from './types.ts';

interface Pending {
  readonly name: RequestName;
  resolve(reply: Message): void;
  reject(error: BridgeError): void;
}

type Fields<N extends RequestName> = Omit<MessageOf<N>, 'type' | 'tag'>;

export class ClientCalls {
  /** Resolves when the connection is over: with nothing after `close`, else with what ended it. */
  readonly closed: Promise<BridgeError | undefined>;
  /** What the server agreed to; plain 9P2000 until then. */
  dialect: Dialect = '9P2000';
  private readonly stream: Duplex;
  private readonly channel: Channel;
  private readonly pending = new Map<number, Pending>();
  /** Tags that a Tflush still speaks of. */
  private readonly flushing = new Set<number>();
  private lastTag = -1;
  private over: BridgeError | undefined;
  private resolveClosed: (reason: BridgeError | undefined) => void = () => {};

  /** @param stream becomes the client's own */
  constructor(stream: Duplex, msize: number) {
    this.stream = stream;
    this.channel = new Channel(msize);
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    stream.on('data', (chunk: Uint8Array) => this.receive(chunk));
    stream.resume(); // a dialled stream arrives paused
    stream.on('error', (cause) =>
      this.finish(new BridgeError('LINK_LOST', `the 9P connection failed: ${messageOf(cause)}`, { cause })),
    );
    const ended = () => this.finish(new BridgeError('LINK_LOST', 'the 9P server closed the connection'));
    stream.on('end', ended);
    stream.on('close', ended);
  }

  /** Sends one request and waits for its reply. */
  call<N extends RequestName>(
    name: N,
    fields: Fields<N>,
    signal?: AbortSignal,
  ): Promise<MessageOf<ReplyNameFor<N>>> {
    return new Promise((resolve, reject) => {
      if (this.over !== undefined) return reject(this.over);
      if (signal?.aborted) return reject(cancelled(name));
      const tag = name === 'Tversion' ? NO_TAG : this.freeTag();
      const onAbort = () => this.flush(tag);
      const done = () => signal?.removeEventListener('abort', onAbort);
      const frame = encode({ type: name, tag, ...fields } as unknown as Message, this.dialect);
      this.pending.set(tag, {
        name,
        resolve(reply) {
          done();
          resolve(reply as MessageOf<ReplyNameFor<N>>);
        },
        reject(error) {
          done();
          reject(error);
        },
      });
      signal?.addEventListener('abort', onAbort);
      this.stream.write(frame);
    });
  }

  /** Ends the connection; what is under way is rejected. @param reason as which it is over, where that is an error */
  close(reason?: BridgeError): void {
    this.finish(reason);
  }

  private flush(oldtag: number): void {
    this.flushing.add(oldtag);
    const settle = () => {
      this.flushing.delete(oldtag);
      const old = this.pending.get(oldtag);
      this.pending.delete(oldtag);
      old?.reject(cancelled(old.name));
    };
    this.call('Tflush', { oldtag }).then(settle, settle);
  }

  private receive(chunk: Uint8Array): void {
    try {
      this.channel.push(chunk);
      for (let frame = this.channel.next(); frame !== undefined; frame = this.channel.next())
        this.settle(frame);
    } catch (error) {
      this.finish(
        error instanceof BridgeError
          ? error
          : new BridgeError('PROTOCOL', messageOf(error), { cause: error }),
      );
    }
  }

  private settle(frame: Uint8Array): void {
    const reply = decode(frame, this.dialect);
    const pending = this.pending.get(reply.tag);
    if (pending === undefined)
      throw new BridgeError('PROTOCOL', `9P reply to tag ${reply.tag}, which is not in use`);
    const isError = reply.type === 'Rerror' || reply.type === 'Rlerror';
    if (!isError && reply.type !== `R${pending.name.slice(1)}`) {
      throw new BridgeError('PROTOCOL', `9P reply ${reply.type} to ${pending.name}`);
    }
    this.pending.delete(reply.tag);
    if (reply.type === 'Rerror') pending.reject(errorFromWire(pending.name, reply.ename, reply.errno));
    else if (reply.type === 'Rlerror') pending.reject(errorFromWire(pending.name, undefined, reply.ecode));
    else pending.resolve(reply as Message);
  }

  private finish(reason: BridgeError | undefined): void {
    if (this.over !== undefined) return;
    this.over = reason ?? new BridgeError('LINK_LOST', 'the 9P connection was closed');
    for (const { reject } of this.pending.values()) reject(this.over);
    this.pending.clear();
    this.stream.destroy();
    this.resolveClosed(reason);
  }

  private freeTag(): number {
    if (this.pending.size + this.flushing.size >= NO_TAG) {
      throw new BridgeError('LIMIT_REACHED', 'too many 9P requests at once');
    }
    do this.lastTag = (this.lastTag + 1) % NO_TAG;
    while (this.pending.has(this.lastTag) || this.flushing.has(this.lastTag));
    return this.lastTag;
  }
}

function cancelled(name: RequestName): BridgeError {
  return new BridgeError('CANCELLED', `${name} was cancelled`);
}
