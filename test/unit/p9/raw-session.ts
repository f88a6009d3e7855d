import { Limit } from '../../../shared/limit.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { decode, encode } from '../../../shared/p9/codec.ts';
import type { FileSystem } from '../../../shared/p9/filesystem.ts';
import type { Message, MessageOf, RequestName } from '../../../shared/p9/messages.ts';
import { Session, type SessionOptions } from '../../../shared/p9/session.ts';
import { type Dialect, NO_FID, NO_NUMBER, NO_TAG } from '../../../shared/p9/types.ts';

type Fields<N extends RequestName> = Omit<MessageOf<N>, 'type' | 'tag'>;

/** A session driven frame by frame, so that a test sees the order of replies and what is not answered. */
export class RawSession {
  readonly session: Session;
  /** All replies so far, in order. */
  readonly replies: Message[] = [];
  dialect: Dialect = '9P2000';
  settled = 0;

  constructor(filesystem: FileSystem, limits: Partial<SessionOptions> = {}) {
    this.session = new Session({
      filesystem,
      log: silentLogger(),
      warnings: silentLogger(),
      maxMsize: 128 * 1024,
      maxFids: 100,
      allFids: new Limit('all fids', 100),
      maxOutstanding: 100,
      ...limits,
      send: (frame) => this.replies.push(decode(frame, this.dialect) as Message),
      onSettled: () => {
        this.settled++;
      },
    });
  }

  send<N extends RequestName>(type: N, tag: number, fields: Fields<N>): void {
    this.session.receive(encode({ type, tag, ...fields } as unknown as Message, this.dialect));
  }

  /** Sends one request and gives the reply with its tag, once all that can happen has happened. */
  async ask<N extends RequestName>(type: N, fields: Fields<N>, tag = 1): Promise<Message> {
    const before = this.replies.length;
    this.send(type, tag, fields);
    await turns();
    const reply = this.replies.slice(before).find((one) => one.tag === tag);
    if (reply === undefined) throw new Error(`${type} was not answered`);
    return reply;
  }

  /** Agrees on a version and attaches fid 0. */
  async start(dialect: Dialect, msize = 8192): Promise<void> {
    this.dialect = '9P2000';
    await this.ask('Tversion', { msize, version: dialect }, NO_TAG);
    this.dialect = dialect;
    await this.ask('Tattach', { fid: 0, afid: NO_FID, uname: 'root', aname: '', nUname: NO_NUMBER });
  }

  /** Walks fid 0 to a file and opens it for reading and writing. */
  async open(fid: number, name: string): Promise<void> {
    await this.ask('Twalk', { fid: 0, newfid: fid, names: [name] });
    if (this.dialect === '9P2000.L') await this.ask('Tlopen', { fid, flags: 2 });
    else await this.ask('Topen', { fid, mode: 2 });
  }

  tags(): Array<[string, number]> {
    return this.replies.map(({ type, tag }) => [type, tag]);
  }
}

/** Lets all promises that are ready run. */
export function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
