/**
 * Transfers whose two ends know which bytes to expect, so that each can tell a whole one from one that was cut off, and a
 * lost or doubled byte from both. The client keeps its own direction open until it has everything: an end that comes too
 * early can then be told from a reset by a write of nothing (see fateOf).
 */
import type { Socket } from 'node:net';
import { KeyStream } from './key-stream.ts';
import { connectTo } from './stream-client.ts';
import { type StreamServer, serveStreams } from './stream-server.ts';

/** u32 number, u32 bytes up, u32 bytes down. */
const HEAD_BYTES = 12;
const BLOCK_BYTES = 48_000;
const NOTHING = Buffer.alloc(0);

/**
 * How a transfer was for one of its ends: `complete`; `reset`; `short end`, a clean end before all bytes had come; or
 * `wrong`, with bytes that were never sent so. A server that never saw the head of a transfer has none.
 */
export type Outcome = 'complete' | 'reset' | 'short end' | 'wrong';

/**
 * What the client does besides: `half-closed` ends its direction behind its bytes, which is for few bytes, since its end can
 * then not be probed; `aborted` sends half of its bytes, and resets when it has all of the container's.
 */
export type Manner = 'plain' | 'half-closed' | 'aborted';

export interface Transfer {
  readonly number: number;
  readonly manner: Manner;
  readonly up: number;
  readonly down: number;
  /** Bytes that have come to the client. */
  received: number;
  client: Outcome | undefined;
  server: Outcome | undefined;
  /** Resolves when the client's end is over. */
  over: Promise<void>;
}

export interface Exchange {
  readonly port: number;
  /** Transfers that are not over for the server. */
  readonly open: () => number;
  /** Begins a transfer through a port or a unix socket. */
  begin(where: number | string, up: number, down: number, manner?: Manner): Transfer;
  /** Begins one and waits for it. @throws Error unless it was complete at both ends */
  whole(where: number | string, up: number, down: number): Promise<void>;
  close(): Promise<void>;
}

/** A stand-in container on loopback, and what makes transfers with it. */
export async function startExchange(): Promise<Exchange> {
  const transfers = new Map<number, Transfer>();
  let numbers = 0;
  const server: StreamServer = await serveStreams((socket) => serve(socket, transfers));
  const begin: Exchange['begin'] = (where, up, down, manner = 'plain') => {
    const transfer: Transfer = {
      number: ++numbers,
      ...{ manner, up, down, received: 0, client: undefined, server: undefined, over: Promise.resolve() },
    };
    transfers.set(transfer.number, transfer);
    transfer.over = run(where, transfer).finally(() => {
      // The server may still look it up when its end comes later.
      setTimeout(() => transfers.delete(transfer.number), 30_000).unref();
    });
    return transfer;
  };
  return {
    port: server.port,
    open: () => server.sockets.size,
    begin,
    whole: async (where, up, down) => {
      const transfer = begin(where, up, down);
      await transfer.over;
      const { client, server: atServer } = transfer;
      if (client !== 'complete' || atServer !== 'complete')
        throw new Error(`a transfer ended ${client} for the client, ${atServer} for the container`);
    },
    close: () => server.close(),
  };
}

async function run(where: number | string, transfer: Transfer): Promise<void> {
  let socket: Socket;
  try {
    socket = await connectTo(where);
  } catch {
    transfer.client = 'reset';
    return;
  }
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(transfer.number, 0);
  head.writeUInt32LE(transfer.up, 4);
  head.writeUInt32LE(transfer.down, 8);
  socket.write(head);
  const { manner, up, down } = transfer;
  send(socket, new KeyStream(transfer.number * 2), manner === 'aborted' ? up >> 1 : up);
  if (manner === 'half-closed') socket.end();
  const expected = new KeyStream(transfer.number * 2 + 1);
  const how = await receive(socket, (chunk) => {
    transfer.received += chunk.length;
    if (!expected.matches(chunk) || transfer.received > down) return 'wrong';
    if (manner !== 'aborted' || transfer.received < down) return undefined;
    socket.resetAndDestroy();
    return 'reset';
  });
  const short = manner === 'half-closed' && transfer.received > 0 ? 'reset' : 'short end';
  transfer.client = how !== 'end' ? how : transfer.received === down ? 'complete' : short;
  if (transfer.client === 'complete') socket.end();
  else socket.destroy();
}

function serve(socket: Socket, transfers: ReadonlyMap<number, Transfer>): void {
  let head: Buffer = NOTHING;
  let transfer: Transfer | undefined;
  let expected: KeyStream | undefined;
  let received = 0;
  let sent = false;
  const finish = (): void => {
    if (transfer === undefined || !sent || received < transfer.up || socket.writableEnded) return;
    transfer.server = 'complete';
    socket.end();
  };
  const take = (chunk: Buffer): Outcome | undefined => {
    let rest = chunk;
    if (transfer === undefined || expected === undefined) {
      head = Buffer.concat([head, chunk]);
      if (head.length < HEAD_BYTES) return undefined;
      const number = head.readUInt32LE(0);
      transfer = transfers.get(number);
      if (transfer === undefined || transfer.up !== head.readUInt32LE(4)) return 'wrong';
      rest = head.subarray(HEAD_BYTES);
      expected = new KeyStream(number * 2);
      send(socket, new KeyStream(number * 2 + 1), transfer.down, () => {
        sent = true;
        finish();
      });
    }
    received += rest.length;
    if (!expected.matches(rest) || received > transfer.up) {
      transfer.server = 'wrong';
      return 'wrong';
    }
    finish();
    return undefined;
  };
  void receive(socket, take).then((how) => {
    if (transfer !== undefined) transfer.server ??= how === 'end' ? 'short end' : how;
    if (how === 'end') socket.end();
    else socket.destroy();
  });
}

/** Writes as the socket takes it. */
function send(socket: Socket, bytes: KeyStream, total: number, done?: () => void): void {
  let left = total;
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      const block = bytes.next(Math.min(left, BLOCK_BYTES));
      left -= block.length;
      if (!socket.write(block)) return;
    }
    socket.off('drain', more);
    if (left === 0) done?.();
  };
  socket.on('drain', more);
  more();
}

/** Reads until an end that is one, or whatever else; `take` may stop it. */
function receive(socket: Socket, take: (chunk: Buffer) => Outcome | undefined): Promise<Outcome | 'end'> {
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      const stopped = take(chunk);
      if (stopped !== undefined) resolve(stopped);
    });
    socket.on('end', () => {
      if (!socket.writable) return resolve('end');
      socket.write(NOTHING, (error) => resolve(error === null || error === undefined ? 'end' : 'reset'));
    });
    socket.on('error', () => resolve('reset'));
    socket.on('close', () => resolve('reset'));
  });
}
