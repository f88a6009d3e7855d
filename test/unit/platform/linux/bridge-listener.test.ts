import { beforeEach, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { BridgeListener } from '../../../../shared/platform/linux/bridge/bridge-listener.ts';
import { refusedCell } from '../../../../shared/platform/linux/peer-check.ts';
import type { Reactor } from '../../../../shared/platform/linux/reactor.ts';
import { encodeSockaddr } from '../../../../shared/platform/linux/sockaddr.ts';
import { HOST_ONLY } from '../../../../shared/transport/peer-cids.ts';
import { FakeReactor, LISTENER } from '../../../helpers/fake-reactor.ts';

let reactor: FakeReactor;
let streams: number[];
let said: string[];
let refused: Int32Array;
let listener: BridgeListener;

beforeEach(() => {
  reactor = new FakeReactor();
  // Odd ones come from the host, CID 2.
  reactor.peerOf = (client) => encodeSockaddr({ family: 'vsock', cid: client % 2 === 1 ? 2 : 9, port: 1 });
  streams = [];
  said = [];
  refused = refusedCell();
  listener = new BridgeListener(
    reactor as unknown as Reactor,
    { id: 1, fd: LISTENER, peers: HOST_ONLY, refused },
    { debug: () => {}, warn: (_, text) => said.push(text) },
    (fd) => streams.push(fd),
  );
});

it('passes on streams of those who may connect, and closes and counts the others', () => {
  reactor.queue = [101, 102, 103, 104];
  reactor.wake();
  expect(streams).toEqual([101, 103]);
  expect(reactor.owned).toEqual([101, 102, 103, 104]);
  expect(reactor.closed).toEqual([102, 104]);
  expect(refused[0]).toBe(2);
  expect(said).toEqual([expect.stringContaining('a stream from CID 9 was closed')]);
});

it('lets clients wait while there are no descriptors, says so once, and says when it is over', () => {
  for (let time = 0; time < 3; time++) {
    reactor.queue = [-ERRNO.EMFILE];
    reactor.wake();
    expect(reactor.watched).toBe(false);
    reactor.pass(100);
  }
  expect(said).toEqual([expect.stringContaining('out of descriptors or memory (EMFILE)')]);
  reactor.queue = [101];
  reactor.wake();
  expect(streams).toEqual([101]);
  reactor.pass(3_000);
  expect(said[1]).toBe('there are descriptors and memory again');
});

it('accepts nobody when it is closed, also where that comes in a pause', () => {
  reactor.queue = [-ERRNO.EMFILE];
  reactor.wake();
  listener.close();
  reactor.pass(100);
  expect(reactor.watched).toBe(false);
});
