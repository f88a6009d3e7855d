import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { Arena } from '../../../../shared/platform/linux/arena.ts';
import { loadLibc } from '../../../../shared/platform/linux/libc.ts';
import { DRAW_BYTES, OutBox } from '../../../../shared/platform/linux/mux/out-box.ts';
import { Sockets } from '../../../../shared/platform/linux/sockets.ts';
import { engines } from '../../../helpers/engines.ts';

describe.skipIf(!engines.includes('linux'))('OutBox', async () => {
  const libc = await loadLibc();
  const arena = new Arena(libc, 512 * 1024);
  const sockets = new Sockets(libc, arena);
  const memory = arena.carve(DRAW_BYTES);

  /** A batch of frames: buffers of the heap, and payload that is drawn from a socket, until all has arrived. */
  function carry(parts: Array<{ drawn: boolean; length: number }>): { sent: Buffer; received: Buffer } {
    const box = new OutBox(libc);
    const [into, from] = sockets.pair()!;
    const [out, peer] = sockets.pair()!;
    const sent: Buffer[] = [];
    const received: Buffer[] = [];
    const readAll = (): void => {
      for (;;) {
        const count = libc.read(peer, memory.address, 50_000);
        if (count <= 0) return;
        received.push(Buffer.from(memory.bytes.subarray(0, count)));
      }
    };
    let next = 0;
    for (let batch = 0; batch < 2; batch++) {
      const buffers: Buffer[] = [];
      box.begin();
      for (const { drawn, length } of parts) {
        const bytes = Buffer.alloc(length, ++next & 0xff);
        if (drawn && length <= box.room && length <= 64 * 1024) {
          bytes.copy(memory.bytes);
          expect(libc.write(into, memory.address, length)).toBe(length);
          expect(box.read(from, length)).toBe(length);
          buffers.push(box.keep(length));
        } else buffers.push(bytes);
        sent.push(bytes);
      }
      box.add(buffers);
      for (let errno = ERRNO.EAGAIN as number; errno !== 0; ) {
        errno = box.write(out);
        expect([0, ERRNO.EAGAIN]).toContain(errno);
        readAll();
      }
      expect(box.empty).toBe(true);
    }
    for (const fd of [into, from, out, peer]) libc.close(fd);
    return { sent: Buffer.concat(sent), received: Buffer.concat(received) };
  }

  it('writes every byte once and in order, whatever the socket takes at a time', () => {
    const part = fc.record({ drawn: fc.boolean(), length: fc.integer({ min: 1, max: 60_000 }) });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        const { sent, received } = carry(parts);
        return sent.equals(received);
      }),
      { numRuns: 40 },
    );
  });

  it('writes more small frames than one writev takes, and a control message behind them', () => {
    const frames = Array.from({ length: 2_000 }, (_, index) => ({ drawn: index % 2 === 0, length: 11 }));
    const { sent, received } = carry([...frames, { drawn: false, length: 256 * 1024 }]);
    expect(received.equals(sent)).toBe(true);
  });

  it('says why it cannot write', () => {
    const box = new OutBox(libc);
    const [out, peer] = sockets.pair()!;
    libc.close(peer);
    box.begin();
    box.add([Buffer.from('x')]);
    expect(box.write(out)).toBe(ERRNO.EPIPE);
    box.discard();
    expect(box.empty).toBe(true);
    libc.close(out);
  });
});
