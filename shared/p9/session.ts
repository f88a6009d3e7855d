/**
 * The server's side of one 9P session: frames in, frames out, no I/O. It knows tags; dispatch.ts knows what requests do.
 *
 * Each request has an AbortController. Tflush aborts it and answers once it has settled. If it succeeded all the same, its
 * reply goes out first, since it did happen (flush(5)); if not, there is no reply. Either way nothing bears the
 * old tag after the Rflush.
 *
 * Tversion, like the end of the connection, aborts what is outstanding, without replies, and clunks every fid.
 *
 * `receive` throws where the stream can no longer be trusted: a malformed message, or a tag that is in use. An error reply
 * to the latter would be taken for the answer to the older request. A string that is not UTF-8 is answered
 * instead: its frame is sound, and any user of a VM can name such a file, which must not cost all others
 * their mount.
 */
import { BridgeError, ERRNO, errnoNumber, messageOf } from '../errors.ts';
import { Limit, type LimitLog } from '../limit.ts';
import type { Logger } from '../logger.ts';
import { decode, encode, frameTag, type UnknownMessage } from './codec.ts';
import { dispatch } from './dispatch.ts';
import { p9Error, wordFor } from './error-text.ts';
import { closeFid, FidTable } from './fid-table.ts';
import type { FileSystem } from './filesystem.ts';
import type { Message, MessageOf, Reply } from './messages.ts';
import type { Dialect } from './types.ts';
import { negotiate } from './version.ts';

export interface SessionOptions {
  readonly filesystem: FileSystem;
  readonly log: Logger;
  /** Where the limits of the session are said. */
  readonly warnings: LimitLog;
  readonly maxMsize: number;
  readonly maxFids: number;
  /** Fids of all sessions of the server. */
  readonly allFids: Limit;
  readonly maxOutstanding: number;
  /** Takes one whole frame for the client. */
  send(frame: Uint8Array): void;
  /** `busy` may have become false. */
  onSettled(): void;
}

interface Outstanding {
  readonly controller: AbortController;
  /** The session that it belonged to is over: no reply. */
  orphaned: boolean;
  settled: Promise<void>;
}

export class Session {
  /** Largest frame that the client may send now. */
  msize: number;
  private dialect: Dialect = '9P2000';
  private negotiated = false;
  private resetting = false;
  /** What the last Tversion ended. */
  private abandoned = Promise.resolve();
  private closing: Promise<void> | undefined;
  private readonly options: SessionOptions;
  private readonly fids: FidTable;
  private readonly outstanding: Limit;
  private readonly requests = new Map<number, Outstanding>();

  constructor(options: SessionOptions) {
    this.options = options;
    this.msize = options.maxMsize;
    this.fids = new FidTable(
      new Limit('fids of a 9P connection', options.maxFids, options.warnings),
      options.allFids,
    );
    this.outstanding = new Limit(
      'outstanding requests of a 9P connection',
      options.maxOutstanding,
      options.warnings,
    );
  }

  /** No frame may be given now: too much is outstanding, or a Tversion is being carried out. */
  get busy(): boolean {
    return this.resetting || this.outstanding.used >= this.outstanding.max;
  }

  /**
   * Takes one whole frame. What needs no waiting is done and answered when this returns.
   * @throws BridgeError PROTOCOL when the connection must end
   */
  receive(frame: Uint8Array): void {
    let message: Message | UnknownMessage;
    try {
      message = decode(frame, this.dialect);
    } catch (error) {
      if (errnoNumber(error) !== ERRNO.EINVAL) throw error;
      const tag = frameTag(frame);
      this.checkFree(tag);
      this.reply(this.errorReply(tag, error));
      return;
    }
    if (message.type === 'Tversion') {
      this.version(message);
      return;
    }
    this.checkFree(message.tag);
    if (message.type === 'unknown') this.refuse(message.tag, p9Error('Operation not supported'));
    else if (!this.negotiated) this.refuse(message.tag, p9Error('protocol botch'));
    else this.start(message);
  }

  /** The connection is gone. Resolves when all that the session had is released; may be called twice. */
  close(): Promise<void> {
    this.closing ??= Promise.all([this.abandoned, this.abandon()]).then(() => undefined);
    return this.closing;
  }

  private checkFree(tag: number): void {
    if (this.requests.has(tag)) throw new BridgeError('PROTOCOL', `9P tag ${tag} is in use`);
  }

  private start(message: Message): void {
    const request: Outstanding = {
      controller: new AbortController(),
      orphaned: false,
      settled: Promise.resolve(),
    };
    this.requests.set(message.tag, request);
    this.outstanding.take();
    request.settled = this.run(request, message);
    // Whoever reads the connection stops now, so the next one never gets here to be refused.
    if (this.outstanding.used >= this.outstanding.max) this.outstanding.refuse();
  }

  private async run(request: Outstanding, message: Message): Promise<void> {
    const { signal } = request.controller;
    let reply: Reply | undefined;
    try {
      const answer =
        message.type === 'Tflush' ? this.flush(request, message) : dispatch(this.state(), message, signal);
      reply = answer instanceof Promise ? await answer : answer;
    } catch (error) {
      reply = signal.aborted ? undefined : this.errorReply(message.tag, error);
    }
    if (this.requests.get(message.tag) === request) this.requests.delete(message.tag);
    this.outstanding.give();
    if (reply !== undefined && !request.orphaned) this.reply(reply);
    this.options.onSettled();
  }

  private state() {
    return { filesystem: this.options.filesystem, fids: this.fids, dialect: this.dialect, msize: this.msize };
  }

  private async flush(self: Outstanding, { tag, oldtag }: MessageOf<'Tflush'>): Promise<Reply> {
    const old = this.requests.get(oldtag);
    if (old !== undefined && old !== self) {
      old.controller.abort();
      await old.settled;
    }
    return { type: 'Rflush', tag };
  }

  private version(message: MessageOf<'Tversion'>): void {
    this.resetting = true;
    this.negotiated = false;
    this.abandoned = this.abandon();
    this.abandoned.then(() => {
      if (this.closing !== undefined) return;
      this.resetting = false;
      this.dialect = '9P2000';
      this.msize = this.options.maxMsize;
      this.reply(this.agree(message));
      this.options.onSettled();
    });
  }

  private agree({ tag, msize: asked, version }: MessageOf<'Tversion'>): Reply {
    try {
      const { msize, dialect } = negotiate(asked, version, this.options.maxMsize);
      if (dialect === undefined) return { type: 'Rversion', tag, msize, version: 'unknown' };
      this.msize = msize;
      this.dialect = dialect;
      this.negotiated = true;
      return { type: 'Rversion', tag, msize, version: dialect };
    } catch (error) {
      return this.errorReply(tag, error);
    }
  }

  /** Aborts what is outstanding and clunks every fid, in this order, and waits for both. */
  private async abandon(): Promise<void> {
    const requests = [...this.requests.values()];
    this.requests.clear();
    for (const request of requests) {
      request.orphaned = true;
      request.controller.abort();
    }
    const closed = this.fids.removeAll().map((fid) =>
      closeFid(fid).catch((error: unknown) => {
        this.options.log.error({ err: error }, `closing a 9P file failed: ${messageOf(error)}`);
      }),
    );
    await Promise.all([...requests.map((request) => request.settled), ...closed]);
  }

  private refuse(tag: number, error: BridgeError): void {
    this.reply(this.errorReply(tag, error));
  }

  private errorReply(tag: number, error: unknown): Reply {
    const errno = errnoNumber(error);
    if (error instanceof BridgeError)
      this.options.log.debug({ tag, errno }, `9P request failed: ${error.message}`);
    else this.options.log.error({ err: error, tag }, `9P request failed unexpectedly: ${messageOf(error)}`);
    if (this.dialect === '9P2000.L') return { type: 'Rlerror', tag, ecode: errno };
    return { type: 'Rerror', tag, ename: wordFor(error), errno };
  }

  private reply(reply: Reply): void {
    this.options.send(this.frame(reply));
  }

  /** The reply as a frame, or an error in its place when it does not fit in msize. */
  private frame(reply: Reply): Uint8Array {
    try {
      const frame = encode(reply, this.dialect);
      if (frame.length <= this.msize) return frame;
      throw p9Error('Message too long');
    } catch (error) {
      return encode(this.errorReply(reply.tag, error), this.dialect);
    }
  }
}
