import { beforeAll, describe, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { sessionOptions } from '../../../../shared/link/session-settings.ts';
import { COMMAND, encodeErrno, encodeOpen } from '../../../../shared/mux/frame.ts';
import { MuxSession } from '../../../../shared/mux/session.ts';
import { Ledger } from '../../../../shared/platform/linux/ledger.ts';
import { type Libc, loadLibc } from '../../../../shared/platform/linux/libc.ts';
import { InBox } from '../../../../shared/platform/linux/mux/in-box.ts';
import { OutBox } from '../../../../shared/platform/linux/mux/out-box.ts';
import type { SocketReport } from '../../../../shared/platform/linux/mux/socket-orders.ts';
import type { WorkerLink } from '../../../../shared/platform/linux/mux/worker-links.ts';
import { WorkerSockets } from '../../../../shared/platform/linux/mux/worker-sockets.ts';
import { Reactor } from '../../../../shared/platform/linux/reactor.ts';
import { encodeDetails } from '../../../../shared/stream-details.ts';
import { engines } from '../../../helpers/engines.ts';

const ID = 5;
const EXTENSIONS = {
  dialResults: true,
  resets: true,
  control: true,
  dedicated: false,
  pings: true,
  details: true,
};

describe.skipIf(!engines.includes('linux'))('sockets for channels of the peer', () => {
  let libc: Libc;

  beforeAll(async () => {
    libc = await loadLibc();
  });

  it('never join a channel that was opened with the id of the one that they were dialled for', () => {
    const reactor = new Reactor(libc, new Ledger());
    const reports: SocketReport[] = [];
    const sockets = new WorkerSockets(reactor, (report) => reports.push(report));
    const settings = { dialled: true, legacy: false, extensions: EXTENSIONS };
    const session: MuxSession = new MuxSession(sessionOptions(settings), {
      open: (channel) => sockets.wanted(channel, link),
      control() {},
      streamReset() {},
      writable() {},
    });
    const boxes = { inBox: new InBox(libc), outBox: new OutBox(libc) };
    const link = { number: 1, session, settings, boxes, passOn() {} } as unknown as WorkerLink;
    const opens = (port: number, reverse: number) =>
      session.receive(encodeOpen(ID, { protocol: 'tcp', ip: '127.0.0.1', port }, encodeDetails({ reverse })));
    opens(1111, 1);
    session.receive(encodeErrno(COMMAND.reset, ID, ERRNO.ECONNRESET));
    opens(2222, 2);
    expect(reports.map(({ type }) => type)).toEqual(['socket-wanted', 'socket-over', 'socket-wanted']);
    const [first, , second] = reports.map(({ number }) => number);
    expect(second).not.toBe(first);

    session.take(1 << 20);

    // The main thread had dialled for the first one before it heard that it is over.
    const [ours, theirs] = reactor.sockets.pair()!;
    const handed = { fd: ours, tcp: false, early: new Uint8Array(0), bytes: undefined };
    const counters = new Float64Array(2);
    const order = { type: 'socket-dialled', link: 1, number: first!, counters, ...handed } as const;
    sockets.take(order, () => link);
    expect(session.take(1 << 20)).toEqual([]);
    expect(libc.read(theirs, reactor.buffer.address, 1)).toBe(0);
    libc.close(theirs);
  });
});
