import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../shared/errors.ts';
import {
  COMMAND,
  encodeBare,
  encodeDataHeader,
  encodeErrno,
  encodeOpen,
  encodePing,
} from '../../../shared/mux/frame.ts';
import { WINDOW_SIZES } from '../../../shared/mux/window.ts';
import { encodeDetails } from '../../../shared/stream-details.ts';
import { MuxPair, NO_EXTENSIONS } from '../../helpers/mux-pair.ts';

const DESTINATION = { protocol: 'tcp', ip: '10.0.0.1', port: 80 } as const;

describe('a channel', () => {
  it('carries bytes both ways and ends when both sides have', () => {
    const pair = new MuxPair();
    const a = pair.open();
    pair.run();
    const b = pair.accepted[0]!;
    a.channel.write(Buffer.from('up'));
    b.channel!.write(Buffer.from('down'));
    a.channel.end();
    pair.run();
    expect(b.bytes.toString()).toBe('up');
    expect(b.events).toEqual(['end']);
    b.channel!.write(Buffer.from(' more'));
    b.channel!.end();
    pair.run();
    expect(a.bytes.toString()).toBe('down more');
    expect(a.events).toEqual(['dial 0', 'flushed', 'end', 'closed']);
    expect(b.events).toEqual(['end', 'flushed', 'closed']);
    expect([pair.a.channelCount, pair.b.channelCount]).toEqual([0, 0]);
    expect([pair.a.creditOut, pair.b.creditOut]).toEqual([0, 0]);
  });

  it('tells the opener why the destination was not reached', () => {
    const pair = new MuxPair();
    pair.onOpen = ERRNO.ECONNREFUSED;
    const a = pair.open();
    pair.run();
    expect(a.events).toEqual(['dial 111', 'closed']);
    expect([pair.a.channelCount, pair.b.channelCount]).toEqual([0, 0]);
  });

  it('passes a reset on, whoever resets, and frees the id on both sides', () => {
    for (const side of ['a', 'b'] as const) {
      const pair = new MuxPair();
      const a = pair.open();
      pair.run();
      const b = pair.accepted[0]!;
      a.channel.write(Buffer.alloc(1000));
      const [own, other] = side === 'a' ? [a, b] : [b, a];
      own.channel!.reset(ERRNO.ECONNRESET);
      pair.run();
      expect(other.events.slice(-2)).toEqual(['reset 104', 'closed']);
      expect(own.events.at(-1)).toBe('closed');
      expect(own.events).not.toContain('reset 104');
      expect([pair.a.channelCount, pair.b.channelCount]).toEqual([0, 0]);
      expect([pair.a.creditOut, pair.b.creditOut]).toEqual([0, 0]);
    }
  });

  it('survives resets that cross', () => {
    const pair = new MuxPair();
    const a = pair.open();
    pair.run();
    const b = pair.accepted[0]!;
    a.channel.reset(ERRNO.ECONNRESET);
    b.channel!.reset(ERRNO.EPIPE);
    pair.run();
    expect(a.events.at(-1)).toBe('closed');
    expect(b.events.at(-1)).toBe('closed');
    expect([pair.a.channelCount, pair.b.channelCount]).toEqual([0, 0]);
  });

  it('can be reset while it is being dialled', () => {
    const pair = new MuxPair();
    pair.onOpen = 'ignore';
    const a = pair.open();
    pair.run();
    a.channel.reset(ERRNO.ECANCELED);
    pair.run();
    expect(pair.accepted[0]!.events).toEqual(['reset 125', 'closed']);
    expect(pair.a.channelCount).toBe(0);
  });

  it('stops its writer while the reader does not read, and loses nothing', () => {
    const pair = new MuxPair();
    pair.consume = false;
    const a = pair.open();
    pair.run();
    const b = pair.accepted[0]!;
    const block = Buffer.alloc(64 * 1024, 7);
    let written = 0;
    const fill = () => {
      do written += block.length;
      while (a.channel.write(block));
      a.events.length = 0;
    };
    fill();
    pair.run();
    fill(); // the first window's worth has left the queue
    pair.run();
    expect(b.held).toBe(WINDOW_SIZES.initial);
    expect(a.events).toEqual([]);
    for (let i = 0; i < 20; i++) {
      b.read();
      pair.run();
    }
    expect(b.bytes.length).toBe(written);
    expect(a.events).toContain('drain');
  });
});

describe('ids', () => {
  it('count down for the side that dialled and up for the other', () => {
    const pair = new MuxPair();
    const ids = [pair.open(), pair.open()].map((probe) => probe.channel.id);
    expect(ids).toEqual([0xffff_ffff, 0xffff_fffe]);
    const up = pair.b.open(DESTINATION, pair.open());
    expect(up.id).toBe(0);
  });

  it('are not used again before both sides have closed', () => {
    const pair = new MuxPair();
    const a = pair.open();
    pair.run();
    a.channel.reset(ERRNO.ECONNRESET); // its Close has not come back yet
    expect(pair.open().channel.id).toBe(0xffff_fffe);
  });

  it('unknown ones are dropped and counted; one opened twice ends the session', () => {
    const pair = new MuxPair();
    for (const frame of [
      encodeBare(COMMAND.close, 9),
      encodeBare(COMMAND.shutdown, 9),
      encodeErrno(COMMAND.reset, 9, 1),
      Buffer.concat([encodeDataHeader(9, 3), Buffer.from('abc')]),
    ])
      pair.b.receive(frame);
    expect(pair.b.strays).toBe(4);
    pair.b.receive(encodeOpen(5, DESTINATION));
    expect(() => pair.b.receive(encodeOpen(5, DESTINATION))).toThrow(/opened twice/);
  });
});

describe('limits', () => {
  it('refuses channels past the limit with a dial result, and a flood of them ends the session', () => {
    const pair = new MuxPair(undefined, { maxChannels: 2 });
    pair.b.receive(encodeOpen(1, DESTINATION));
    pair.b.receive(encodeOpen(2, DESTINATION));
    pair.b.receive(encodeOpen(3, DESTINATION));
    expect(pair.accepted.length).toBe(2);
    expect(pair.b.refused).toBe(1);
    const out = Buffer.concat(pair.b.take(1000)).toString('hex');
    expect(out).toContain(encodeErrno(COMMAND.dialResult, 3, ERRNO.ENOBUFS).toString('hex'));
    pair.b.receive(encodeOpen(4, DESTINATION));
    expect(() => pair.b.receive(encodeOpen(5, DESTINATION))).toThrow(/flood/);
    expect(() => [0, 1, 2].map(() => pair.open())).toThrow(
      expect.objectContaining({ code: 'LIMIT_REACHED' }),
    );
  });

  it('a peer that overruns its window ends the session', () => {
    const pair = new MuxPair();
    pair.b.receive(encodeOpen(1, DESTINATION));
    expect(() => pair.b.receive(encodeDataHeader(1, WINDOW_SIZES.initial + 1))).toThrow(/window overrun/);
    expect(pair.b.dump().join('\n')).toMatch(/recv data 1 65537/);
  });

  it('bytes that nobody reads any more give their credit back', () => {
    const pair = new MuxPair();
    const a = pair.open();
    pair.run();
    const b = pair.accepted[0]!;
    a.channel.write(Buffer.alloc(50_000));
    for (const buffer of pair.a.take(1e6)) {
      b.channel!.reset(ERRNO.ECONNRESET); // before the bytes arrive
      pair.b.receive(buffer);
    }
    pair.run();
    expect([pair.a.creditOut, pair.b.creditOut]).toEqual([0, 0]);
  });
});

describe('extensions', () => {
  it('are refused from a peer that did not negotiate them', () => {
    for (const command of [COMMAND.dialResult, COMMAND.reset, COMMAND.streamReset] as const) {
      const pair = new MuxPair(NO_EXTENSIONS);
      expect(() => pair.b.receive(encodeErrno(command, 1, 0))).toThrow(/without having negotiated/);
    }
    for (const command of [COMMAND.ping, COMMAND.pong] as const)
      expect(() => new MuxPair(NO_EXTENSIONS).b.receive(encodePing(command, 1))).toThrow(/without having/);
    const pair = new MuxPair(NO_EXTENSIONS);
    expect(() => pair.a.sendControl(Buffer.from('x'))).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
  });

  it('say behind the destination who the client is, where the peer knows of it', () => {
    const destination = { protocol: 'tcp', ip: '10.0.0.1', port: 80 } as const;
    const details = { client: { ip: '10.0.0.9', port: 4711 }, keepalive: 30 };
    const handler = new MuxPair().open().channel.handler;
    const pair = new MuxPair();
    pair.a.open(destination, handler, encodeDetails(details));
    pair.run();
    expect(pair.accepted[0]!.channel!.details).toEqual(details);
    const legacy = new MuxPair(NO_EXTENSIONS);
    legacy.a.open(destination, handler, encodeDetails(details));
    legacy.run();
    expect(legacy.accepted[0]!.channel!.details).toEqual({});
    expect(() => legacy.b.receive(encodeOpen(7, destination, encodeDetails(details)))).toThrow(
      /bytes behind the destination without having negotiated/,
    );
  });

  it('without them a refusal and a reset are both a Close, which the other side takes for a reset', () => {
    const refused = new MuxPair(NO_EXTENSIONS);
    refused.onOpen = ERRNO.ECONNREFUSED;
    const a = refused.open();
    refused.run();
    expect(a.events).toEqual(['reset 104', 'closed']);

    const reset = new MuxPair(NO_EXTENSIONS);
    const opener = reset.open();
    reset.run();
    opener.channel.reset(ERRNO.ECONNRESET);
    reset.run();
    expect(reset.accepted[0]!.events).toEqual(['reset 104', 'closed']);
    expect([reset.a.channelCount, reset.b.channelCount]).toEqual([0, 0]);
  });

  it('carry control messages and resets of dedicated streams', () => {
    const pair = new MuxPair();
    pair.a.sendControl(Buffer.from('hello'));
    pair.a.sendStreamReset(77, ERRNO.ECONNRESET);
    pair.run();
    expect(pair.controls.map(String)).toEqual(['hello']);
    expect(pair.streamResets).toEqual([[77, ERRNO.ECONNRESET]]);
  });
});

describe('a ping', () => {
  it('is answered with its number', () => {
    const pair = new MuxPair();
    for (const number of [0, 7, 0xffff_ffff]) pair.a.sendPing(number);
    pair.run();
    expect(pair.pongs).toEqual([0, 7, 0xffff_ffff]);
  });

  it('overtakes all payload that waits, and so does its answer', () => {
    const pair = new MuxPair();
    const bulk = pair.open();
    pair.run();
    pair.accepted[0]!.channel!.write(Buffer.alloc(1_000_000));
    bulk.channel.write(Buffer.alloc(1_000_000));
    pair.a.sendPing(1);
    const [first] = pair.a.take(256 * 1024);
    expect(first).toEqual(encodePing(COMMAND.ping, 1));
    pair.b.receive(first!);
    expect(pair.b.take(256 * 1024)[0]).toEqual(encodePing(COMMAND.pong, 1));
  });

  it('many of them from a peer that reads nothing wait within what the driver looks at', () => {
    const pair = new MuxPair();
    for (let number = 0; number < 1_000; number++) pair.b.receive(encodePing(COMMAND.ping, number));
    expect(pair.b.backlog).toBe(11_000);
  });
});

describe('the scheduler', () => {
  it('gives a small channel its turn while bulk ones are saturated', () => {
    const pair = new MuxPair();
    const bulk = Array.from({ length: 4 }, () => pair.open());
    const small = pair.open();
    pair.run();
    for (const each of bulk) each.channel.write(Buffer.alloc(1024 * 1024));
    small.channel.write(Buffer.from('ping'));
    // One turn of everybody is four quanta; the small one must be in it.
    for (const buffer of pair.a.take(5 * 32 * 1024)) pair.b.receive(buffer);
    expect(pair.accepted[4]!.bytes.toString()).toBe('ping');
  });
});

describe('a session', () => {
  it('resets every channel when it is lost', () => {
    const pair = new MuxPair();
    const a = pair.open();
    pair.run();
    pair.a.fail(ERRNO.ECONNABORTED);
    pair.a.fail(ERRNO.ECONNABORTED);
    expect(a.events).toEqual(['dial 0', 'reset 103', 'closed']);
    expect(() => pair.open()).toThrow(expect.objectContaining({ code: 'LINK_LOST' }));
  });

  it('delivers exactly what was written, in order, whatever is interleaved', () => {
    const action = fc.record({
      channel: fc.nat({ max: 3 }),
      side: fc.constantFrom('a', 'b'),
      size: fc.nat({ max: 100_000 }),
      turn: fc.nat({ max: 50_000 }),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const pair = new MuxPair();
        pair.consume = false;
        const ends = Array.from({ length: 4 }, () => pair.open(false));
        pair.run();
        const sent = new Map<unknown, Buffer[]>();
        let salt = 0;
        for (const { channel, side, size, turn } of actions) {
          const from = side === 'a' ? ends[channel]! : pair.accepted[channel]!;
          const to = side === 'a' ? pair.accepted[channel]! : ends[channel]!;
          const chunk = Buffer.alloc(size, salt++);
          from.channel!.write(chunk);
          sent.set(to, [...(sent.get(to) ?? []), chunk]);
          pair.turn(turn);
          to.read();
        }
        for (let i = 0; i < 200; i++) {
          pair.run();
          for (const probe of [...ends, ...pair.accepted]) probe.read();
        }
        for (const [probe, chunks] of sent)
          expect((probe as (typeof ends)[0]).bytes.equals(Buffer.concat(chunks))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a channel with a source', () => {
  /** Gives `bytes` in all, and notes how much it was asked for. */
  function source(bytes: number) {
    const asked: number[] = [];
    let left = bytes;
    return {
      asked,
      get readable() {
        return left > 0;
      },
      draw(max: number): Buffer | undefined {
        asked.push(max);
        const count = Math.min(max, left);
        left -= count;
        return count === 0 ? undefined : Buffer.alloc(count, 1);
      },
    };
  }

  it('is drawn from only while its window is open, and goes on with every credit', () => {
    const pair = new MuxPair();
    pair.consume = false;
    const a = pair.open();
    a.channel.source = source(1_000_000);
    a.channel.sourceReady();
    pair.run();
    const b = pair.accepted[0]!;
    expect(b.held).toBe(WINDOW_SIZES.initial);
    let total = 0;
    while (b.held > 0) {
      total += b.held;
      b.read();
      pair.run();
    }
    expect(total).toBe(1_000_000);
    a.channel.end();
    pair.run();
    expect(b.events).toEqual(['end']);
  });

  it('a small channel waits for one quantum of a bulk one at most', () => {
    const pair = new MuxPair();
    const bulk = pair.open();
    const small = pair.open();
    pair.run();
    bulk.channel.source = source(100_000_000);
    for (let round = 0; round < 50; round++) {
      bulk.channel.sourceReady();
      small.channel.write(Buffer.from('ping'));
      const frames = pair.a.take(256 * 1024);
      const at = frames.findIndex((buffer) => buffer.toString() === 'ping');
      expect(at).toBeGreaterThan(0);
      const before = frames.slice(0, at).reduce((sum, buffer) => sum + buffer.length, 0);
      expect(before).toBeLessThan(33 * 1024);
      for (const buffer of frames) pair.b.receive(buffer);
      pair.run();
    }
  });

  it('that resets its channel while it is drawn from sends nothing behind the reset', () => {
    const pair = new MuxPair();
    const a = pair.open();
    pair.run();
    a.channel.source = {
      readable: true,
      draw: () => {
        a.channel.reset(ERRNO.ECONNRESET);
        return undefined;
      },
    };
    a.channel.sourceReady();
    pair.run();
    expect(pair.accepted[0]!.events).toEqual(['reset 104', 'closed']);
    expect([pair.a.channelCount, pair.b.channelCount]).toEqual([0, 0]);
  });
});
