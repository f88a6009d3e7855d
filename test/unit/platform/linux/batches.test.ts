/** Batches on real sockets of this machine, against the codec of the portable engine. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { Arena } from '../../../../shared/platform/linux/arena.ts';
import {
  AF_UNIX,
  SO_REUSEADDR,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../../../../shared/platform/linux/constants.ts';
import { SO_SNDBUF } from '../../../../shared/platform/linux/datagrams/numbers.ts';
import { BATCH, ReceiveBatch } from '../../../../shared/platform/linux/datagrams/receive-batch.ts';
import { type DatagramTarget, SendBatch } from '../../../../shared/platform/linux/datagrams/send-batch.ts';
import { UdpSockets } from '../../../../shared/platform/linux/datagrams/udp-sockets.ts';
import type { Libc } from '../../../../shared/platform/linux/libc.ts';
import { encodeSockaddr } from '../../../../shared/platform/linux/sockaddr.ts';
import { Sockets } from '../../../../shared/platform/linux/sockets.ts';
import { encodeFlowFrame, FlowFrameDecoder, MAX_DATAGRAM_BYTES } from '../../../../shared/relay/udp-frame.ts';
import { whyNotLinux } from '../../../helpers/engines.ts';

const BUFFER_BYTES = 4 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);

describe.skipIf(whyNotLinux !== undefined)('batches', () => {
  let libc: Libc;
  let sockets: UdpSockets;
  let receive: ReceiveBatch;
  let send: SendBatch;
  let payloads: { address: number; bytes: Buffer };
  let pair: { address: number; bytes: Buffer };
  let receiver: number;
  let sender: number;
  const fds: number[] = [];

  beforeAll(async () => {
    const { loadLibc } = await import('../../../../shared/platform/linux/libc.ts');
    libc = await loadLibc();
    const arena = new Arena(libc, 16 * 1024);
    sockets = new UdpSockets(libc, arena);
    receive = new ReceiveBatch(libc, true);
    send = new SendBatch(libc);
    payloads = libc.allocate(8 * 1024 * 1024);
    pair = arena.carve(8);
    const bound = { ip: '0.0.0.0', port: 0 };
    receiver = sockets.bind(bound, 'test', { tellsLocal: true, bufferBytes: BUFFER_BYTES });
    sockets.answer(receiver);
    const port = new Sockets(libc, arena).localPort(receiver);
    sender = sockets.connect(encodeSockaddr({ family: 'ip', ip: '127.0.0.2', port }), BUFFER_BYTES);
    fds.push(receiver, sender);
  });
  afterAll(() => {
    for (const fd of fds) libc.close(fd);
  });

  const target = (): DatagramTarget => ({ name: NOTHING, control: NOTHING, segments: true });

  /** Sends datagrams of these sizes, each filled with its index. @returns how many were taken */
  function sendAll(sizes: readonly number[], to = target()): number {
    let at = 0;
    let sent = 0;
    for (const [index, size] of sizes.entries()) {
      payloads.bytes.fill(index + 1, at, at + size);
      send.add(to, payloads.address + at, size);
      at += size;
      if (send.full) sent += send.flush(sender);
    }
    return sent + send.flush(sender);
  }

  function streamPair(sendBuffer?: number): [number, number] {
    expect(libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.address)).toBe(0);
    const [from, to] = [pair.bytes.readInt32LE(0), pair.bytes.readInt32LE(4)];
    if (sendBuffer !== undefined) {
      pair.bytes.writeInt32LE(sendBuffer, 0);
      libc.setsockopt(from, SOL_SOCKET, SO_SNDBUF, pair.address, 4);
    }
    return [from, to];
  }

  /** Everything that waits in a stream. */
  function readAll(fd: number): Buffer {
    const chunks: Buffer[] = [];
    for (;;) {
      const count = libc.read(fd, payloads.address, payloads.bytes.length);
      if (count <= 0) return Buffer.concat(chunks);
      chunks.push(Buffer.from(payloads.bytes.subarray(0, count)));
    }
  }

  const sizes = fc.array(fc.oneof(fc.constantFrom(0, 1, 64, 64, 64, 1_400, 1_400), fc.nat({ max: 5_000 })), {
    minLength: 1,
    maxLength: BATCH,
  });

  it('make frames that the decoder reads, however much a full stream takes of them', () => {
    const header = encodeFlowFrame({
      flow: 0xfedc_ba98,
      ended: false,
      addresses: undefined,
      payload: NOTHING,
    })![0]!;
    const other = encodeFlowFrame({
      flow: 7,
      ended: false,
      addresses: {
        client: { ip: Buffer.alloc(16, 1), port: 2, zone: 'a-long-zone-3456' },
        local: { ip: Buffer.alloc(16, 3), port: 0, zone: 'a-long-zone-3456' },
      },
      payload: NOTHING,
    })![0]!;
    const room = fc.option(fc.constantFrom(1, 8_192, 40_000), { nil: undefined });
    fc.assert(
      fc.property(sizes, room, fc.nat({ max: 10 }), (list, sendBuffer, skipped) => {
        expect(sendAll(list)).toBe(list.length);
        expect(receive.receive(receiver)).toBe(list.length);
        const expected: Array<{ flow: number; payload: Buffer }> = [];
        let bytes = 0;
        for (const [index, size] of list.entries()) {
          expect(receive.length(index)).toBe(size);
          if (index === skipped) {
            receive.skip(index);
            continue;
          }
          const odd = (index + skipped) % 2 === 1;
          bytes += receive.frame(index, odd ? header : other);
          expected.push({ flow: odd ? 0xfedc_ba98 : 7, payload: Buffer.alloc(size, index + 1) });
        }
        const [from, to] = streamPair(sendBuffer);
        const written = bytes === 0 ? 0 : receive.write(from, list.length);
        if (written < 0) expect(libc.errno()).toBe(ERRNO.EAGAIN);
        const rest = receive.rest(list.length, Math.max(0, written));
        const whole = Buffer.concat([readAll(to), rest]);
        for (const fd of [from, to]) libc.close(fd);
        const seen: typeof expected = [];
        new FlowFrameDecoder().push(whole, ({ flow, payload }) =>
          seen.push({ flow, payload: Buffer.from(payload) }),
        );
        expect(whole.length).toBe(bytes);
        expect(seen).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('say who sent and which address was written to', () => {
    sendAll([3]);
    expect(receive.receive(receiver)).toBe(1);
    const bytes = Buffer.from(receive.words.buffer, receive.words.byteOffset, receive.words.byteLength);
    const local = 4 * receive.local(0);
    expect([...bytes.subarray(local, local + 4)]).toEqual([127, 0, 0, 2]);
    const from = 4 * receive.sender(0);
    expect([...bytes.subarray(from + 4, from + 8)]).toEqual([127, 0, 0, 1]);
    expect(receive.receive(receiver)).toBe(-1);
    expect(libc.errno()).toBe(ERRNO.EAGAIN);
  });

  it('send runs of one size in messages that the kernel cuts, and arrive one by one', () => {
    const list = [
      ...Array(150).fill(64),
      1_400,
      1_400,
      0,
      0,
      0,
      1_400,
      9_000,
      9_000,
      ...Array(100).fill(1_400),
    ];
    expect(sendAll(list)).toBe(list.length);
    const seen: number[] = [];
    for (;;) {
      const count = receive.receive(receiver);
      if (count < 0) break;
      for (let index = 0; index < count; index++) seen.push(receive.length(index));
    }
    expect(seen).toEqual(list);
  });

  it('send singly what the kernel refuses to cut', () => {
    // Two of these are no message; a size above the MTU of lo (65,536) is what udp_send_skb refuses elsewhere.
    const to = target();
    expect(sendAll([MAX_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES], to)).toBe(2);
    expect(receive.receive(receiver)).toBe(2);
    expect([receive.length(0), receive.length(1)]).toEqual([MAX_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES]);
    // No checksums are put off for such a socket, and without that the kernel does not cut (SO_NO_CHECK, 11).
    pair.bytes.writeInt32LE(1, 0);
    expect(libc.setsockopt(sender, SOL_SOCKET, 11, pair.address, 4)).toBe(0);
    expect(sendAll([64, 64, 64], to)).toBe(3);
    expect(to.segments).toBe(false);
    pair.bytes.writeInt32LE(0, 0);
    libc.setsockopt(sender, SOL_SOCKET, 11, pair.address, 4);
    expect(receive.receive(receiver)).toBe(3);
  });

  it('lose to a closed port no more than the datagrams themselves', () => {
    const arena = new Arena(libc, 4_096);
    const gone = sockets.bind({ ip: '127.0.0.1', port: 0 }, 'gone', {
      tellsLocal: false,
      bufferBytes: 4_096,
    });
    const port = new Sockets(libc, arena).localPort(gone);
    libc.close(gone);
    const fd = sockets.connect(encodeSockaddr({ family: 'ip', ip: '127.0.0.1', port }), 4_096);
    fds.push(fd);
    for (let index = 0; index < 5; index++) send.add(target(), payloads.address, 10 + index);
    // ICMP answers each of them at once; that is told to the next, which is sent all the same.
    expect(send.flush(fd)).toBe(5);
  });

  it('are refused ports that others have, even with SO_REUSEADDR', () => {
    const arena = new Arena(libc, 4_096);
    const first = sockets.bind({ ip: '127.0.0.1', port: 0 }, 'first', {
      tellsLocal: false,
      bufferBytes: 4_096,
    });
    fds.push(first);
    pair.bytes.writeInt32LE(1, 0);
    libc.setsockopt(first, SOL_SOCKET, SO_REUSEADDR, pair.address, 4);
    const port = new Sockets(libc, arena).localPort(first);
    for (const ip of ['127.0.0.1', '0.0.0.0'])
      expect(() => sockets.bind({ ip, port }, 'second', { tellsLocal: true, bufferBytes: 4_096 })).toThrow(
        expect.objectContaining({ code: 'PORT_IN_USE' }),
      );
  });
});
