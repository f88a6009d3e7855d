/** A 9P client that sends what it likes, and reads when it likes. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { decode, encode } from '../../shared/p9/codec.ts';
import type { Message, MessageOf, RequestName } from '../../shared/p9/messages.ts';
import { type Dialect, NO_FID, NO_NUMBER, NO_TAG } from '../../shared/p9/types.ts';
import { until } from '../helpers/processes.ts';
import { P9Cutter } from '../helpers/wire-pieces.ts';
import { dialUnix } from './raw-link.ts';

type Fields<N extends RequestName> = Omit<MessageOf<N>, 'type' | 'tag'>;
const ANSWER_MS = 15_000;

export class RawTree {
  readonly socket: Socket;
  replies = 0;
  private dialect: Dialect = '9P2000';
  /** Who waits for an answer, by its tag. */
  private readonly waiting = new Map<number, (reply: Message | undefined) => void>();
  private tag = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    const cutter = new P9Cutter();
    socket.on('data', (chunk: Buffer) => {
      for (const { bytes } of cutter.push(chunk)) {
        this.replies++;
        const reply = decode(bytes, this.dialect) as Message;
        this.settle(reply.tag, reply);
      }
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      for (const tag of this.waiting.keys()) this.settle(tag, undefined);
    });
  }

  /** Attached, with the root as fid 0. */
  static async attach(path: string, dialect: Dialect = '9P2000'): Promise<RawTree> {
    const tree = new RawTree(await dialUnix(path));
    await tree.call('Tversion', { msize: 8_192, version: dialect }, NO_TAG);
    tree.dialect = dialect;
    await tree.ask('Tattach', { fid: 0, afid: NO_FID, uname: 'root', aname: '', nUname: NO_NUMBER });
    return tree;
  }

  get ended(): boolean {
    return this.socket.destroyed;
  }

  bytes<N extends RequestName>(type: N, fields: Fields<N>, tag: number): Buffer {
    return Buffer.from(encode({ type, tag, ...fields } as unknown as Message, this.dialect));
  }

  /** @returns the reply, or undefined when the connection was ended instead */
  ask<N extends RequestName>(type: N, fields: Fields<N>): Promise<Message | undefined> {
    this.tag = (this.tag + 1) % 1_000;
    return this.call(type, fields, this.tag);
  }

  /** Sends and waits until it was taken. @returns false when the server has not taken it within the time */
  async flush(bytes: Buffer, timeoutMs: number): Promise<boolean> {
    if (this.ended) return true;
    if (this.socket.write(bytes)) return true;
    return until('drain', () => !this.socket.writableNeedDrain || this.ended, timeoutMs).then(
      () => true,
      () => false,
    );
  }

  close(): void {
    this.socket.destroy();
  }

  private async call<N extends RequestName>(
    type: N,
    fields: Fields<N>,
    tag: number,
  ): Promise<Message | undefined> {
    if (this.ended) return undefined;
    const answer = new Promise<Message | undefined>((resolve) => this.waiting.set(tag, resolve));
    this.socket.write(this.bytes(type, fields, tag));
    const late = delay(ANSWER_MS, 'late' as const, { ref: false });
    const reply = await Promise.race([answer, late]);
    if (reply === 'late') throw new Error(`no answer to ${type} within ${ANSWER_MS / 1000} s`);
    return reply;
  }

  private settle(tag: number, reply: Message | undefined): void {
    this.waiting.get(tag)?.(reply);
    this.waiting.delete(tag);
  }
}
