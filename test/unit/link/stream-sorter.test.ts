import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { StreamSorter } from '../../../shared/link/stream-sorter.ts';
import type { Logger } from '../../../shared/logger.ts';
import {
  decodeSpareHead,
  encodeSpareHead,
  MAX_SPARE_HEAD_BYTES,
  SPARE_MAGIC,
} from '../../../shared/spare-head.ts';

const KEY = Buffer.alloc(16, 7);

describe('StreamSorter', () => {
  let said: Array<{ level: string; refused?: number; text: string }>;
  let heads: Buffer[];
  let sorter: StreamSorter<Buffer>;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    [said, heads] = [[], []];
    const note = (level: string) => (fields: object, text: string) => said.push({ level, ...fields, text });
    sorter = new StreamSorter({
      kind: {
        magic: SPARE_MAGIC,
        what: 'a spare stream',
        maxBytes: MAX_SPARE_HEAD_BYTES,
        decode: decodeSpareHead,
      },
      onLink: () => {},
      onStream: (head) => {
        if (!head.equals(KEY)) throw new BridgeError('PERMISSION_DENIED', 'a wrong key');
        heads.push(head);
      },
      log: { warn: note('warn'), debug: note('debug') } as unknown as Logger,
    });
  });
  afterEach(() => {
    sorter.close();
    vi.useRealTimers();
  });

  function arrive(first?: Buffer): PassThrough {
    const stream = new PassThrough();
    sorter.accept(stream as unknown as Socket);
    if (first !== undefined) stream.write(first);
    return stream;
  }

  it('closes a stream that says nothing for 10 s', async () => {
    const stream = arrive();
    vi.advanceTimersByTime(9_999);
    await turn();
    expect(stream.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    await turn();
    expect(stream.destroyed).toBe(true);
    expect(said).toMatchObject([{ level: 'warn', refused: 1, text: expect.stringContaining('within 10 s') }]);
  });

  it('takes 512 at once that have not said what they are, and closes the oldest for one more', async () => {
    const streams = Array.from({ length: 513 }, () => arrive());
    expect([streams[0]!.destroyed, streams[1]!.destroyed]).toEqual([true, false]);
    expect(said).toMatchObject([{ level: 'warn', text: expect.stringContaining('limit reached') }]);
    streams[1]!.write(encodeSpareHead(KEY));
    await turn();
    expect(heads).toHaveLength(1);
    arrive();
    expect(streams[2]!.destroyed).toBe(false);
    arrive();
    expect(streams[2]!.destroyed).toBe(true);
  });

  it('counts every refusal, and warns of the first and of those at powers of two', async () => {
    for (let index = 0; index < 9; index++) {
      const stream = arrive(encodeSpareHead(Buffer.alloc(16)));
      await turn();
      expect(stream.destroyed).toBe(true);
    }
    const warned = said.filter(({ level }) => level === 'warn').map(({ refused }) => refused);
    expect([said.length, warned]).toEqual([9, [1, 2, 4, 8]]);
  });
});
