import { describe, expect, it } from 'vitest';
import {
  DatagramStream,
  flowCodec,
  MAX_BACKLOG_BYTES,
  u16Codec,
} from '../../../shared/relay/datagram-stream.ts';
import type { FlowFrame, U16Frame } from '../../../shared/relay/udp-frame.ts';
import { fakeEnd } from '../../helpers/fake-end.ts';

const frame = (flow: number, text: string): FlowFrame => ({
  flow,
  ended: false,
  addresses: undefined,
  payload: Buffer.from(text),
});

describe('DatagramStream', () => {
  it('carries frames through, both notations', () => {
    const out = fakeEnd();
    const got: FlowFrame[] = [];
    const sender = new DatagramStream<FlowFrame>(out.end, flowCodec(), { frame() {}, closed() {} });
    const inward = fakeEnd();
    new DatagramStream<FlowFrame>(inward.end, flowCodec(), { frame: (f) => got.push(f), closed() {} });
    expect(sender.send(frame(1, 'one'))).toBe(true);
    expect(sender.send(frame(2, ''))).toBe(true);
    for (const chunk of out.written) inward.handler().data(chunk);
    expect(got.map(({ flow, payload }) => [flow, payload.toString()])).toEqual([
      [1, 'one'],
      [2, ''],
    ]);
    expect(out.calls).toEqual(['resume']);
  });

  it('drops what a full stream does not take, instead of waiting', () => {
    const { end, written } = fakeEnd();
    const stream = new DatagramStream<FlowFrame>(end, flowCodec(), { frame() {}, closed() {} });
    end.backlog = MAX_BACKLOG_BYTES + 1;
    expect(stream.send(frame(1, 'x'))).toBe(false);
    expect(written).toEqual([]);
    end.backlog = 0;
    expect(stream.send(frame(1, 'x'))).toBe(true);
  });

  it('drops what the notation cannot say', () => {
    const { end, written } = fakeEnd();
    const stream = new DatagramStream<U16Frame>(end, u16Codec(), { frame() {}, closed() {} });
    const zoned = { ip: Buffer.alloc(16), port: 1, zone: 'eth0', payload: Buffer.alloc(65_507) };
    expect(stream.send(zoned)).toBe(false);
    expect(stream.send({ ...zoned, ip: Buffer.alloc(0), zone: '' })).toBe(true);
    expect(written.length).toBeGreaterThan(0);
  });

  it('a malformed frame resets the stream and says why', () => {
    const { end, calls, handler } = fakeEnd();
    let why: string | undefined;
    new DatagramStream<FlowFrame>(end, flowCodec(), {
      frame() {},
      closed: (error) => {
        why = error?.code;
      },
    });
    handler().data(Buffer.from('ffffffff', 'hex'));
    expect(calls).toEqual(['resume', 'reset PROTOCOL']);
    expect(why).toBe('PROTOCOL');
  });

  it('ends when its peer does', () => {
    const { end, calls, handler } = fakeEnd();
    let closed = false;
    new DatagramStream<FlowFrame>(end, flowCodec(), {
      frame() {},
      closed: (error) => {
        closed = error === undefined;
      },
    });
    handler().ended();
    handler().closed();
    expect(calls).toEqual(['resume', 'end']);
    expect(closed).toBe(true);
  });
});
