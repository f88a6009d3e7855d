/** The calls themselves, where they can be made. */
import { describe, expect, it } from 'vitest';
import { Arena } from '../../../../shared/platform/linux/arena.ts';
import { EPOLLIN, EPOLLOUT } from '../../../../shared/platform/linux/constants.ts';
import { Epoll } from '../../../../shared/platform/linux/epoll.ts';
import { Ledger } from '../../../../shared/platform/linux/ledger.ts';
import { loadLibc } from '../../../../shared/platform/linux/libc.ts';
import { PIPE_BYTES, PipePool } from '../../../../shared/platform/linux/pipe-pool.ts';
import { encodeSockaddr } from '../../../../shared/platform/linux/sockaddr.ts';
import { Sockets } from '../../../../shared/platform/linux/sockets.ts';
import { engines } from '../../../helpers/engines.ts';

describe.skipIf(!engines.includes('linux'))('system calls', async () => {
  const libc = await loadLibc();
  const arena = new Arena(libc, 64 * 1024);
  const sockets = new Sockets(libc, arena);

  it('give errno', () => {
    expect(libc.read(-1, 0, 0)).toBe(-1);
    expect(libc.errno()).toBe(9);
  });

  it('the arena hands out memory that the kernel fills, and no more than it has', () => {
    const piece = arena.carve(8);
    expect(piece.address % 16).toBe(0);
    const fd = libc.eventfd(5, 0);
    expect(libc.read(fd, piece.address, 8)).toBe(8);
    expect(piece.bytes.readBigUInt64LE()).toBe(5n);
    libc.close(fd);
    expect(() => arena.carve(1 << 20)).toThrow(RangeError);
  });

  it('listen, connect, accept, and what epoll says of it', () => {
    const listener = sockets.openListener({ family: 'ip', ip: '127.0.0.1', port: 0 }, 'here');
    const port = sockets.localPort(listener);
    sockets.answer(listener);
    const epoll = new Epoll(libc, arena);
    expect(epoll.add(listener, EPOLLIN, 7)).toBe(0);
    expect(epoll.wait(0)).toBe(0);
    const address = encodeSockaddr({ family: 'ip', ip: '127.0.0.1', port });
    const client = sockets.open(address);
    sockets.connect(client, address);
    expect(epoll.wait(1_000)).toBe(1);
    expect([epoll.fdAt(0), epoll.flagsAt(0), epoll.generationAt(0)]).toEqual([listener, EPOLLIN, 7]);
    const accepted = sockets.accept(listener);
    expect(accepted).toBeGreaterThan(0);
    expect(sockets.accept(listener)).toBe(-1);
    expect(sockets.pendingError(client)).toBe(0);
    expect(epoll.add(client, EPOLLOUT, 2 ** 32 - 1)).toBe(0);
    epoll.remove(listener);
    expect(epoll.wait(1_000)).toBe(1);
    expect(epoll.generationAt(0)).toBe(2 ** 32 - 1);
    sockets.resetOnClose(accepted);
    libc.close(accepted);
    expect(sockets.probe(client)).not.toBe(0);
    for (const fd of [client, listener, epoll.fd]) libc.close(fd);
  });

  it('a port that is taken is said as such', () => {
    const listener = sockets.openListener({ family: 'ip', ip: '127.0.0.1', port: 0 }, 'here');
    const port = sockets.localPort(listener);
    expect(() => sockets.openListener({ family: 'ip', ip: '127.0.0.1', port }, `:${port}`)).toThrow(
      `bind :${port}: EADDRINUSE`,
    );
    libc.close(listener);
  });

  it('pipes are made when wanted, used again when clean, closed when not', () => {
    const ledger = new Ledger();
    const pool = new PipePool(libc, arena, ledger);
    expect(pool.size).toBe(0);
    const pipe = pool.take()!;
    expect(pipe.capacity).toBeLessThanOrEqual(PIPE_BYTES);
    expect(ledger.list()).toEqual([pipe.readFd, pipe.writeFd].sort((a, b) => a - b));
    pool.give(pipe, true);
    expect(pool.take()).toBe(pipe);
    pool.give(pipe, false);
    expect(pool.size).toBe(0);
    expect(ledger.list()).toEqual([]);
    const many = Array.from({ length: 200 }, () => pool.take()).filter((each) => each !== undefined);
    expect(many.length).toBeLessThan(100);
    for (const each of many) pool.give(each, true);
    pool.closeIdle();
    expect(pool.size).toBe(0);
  });
});
